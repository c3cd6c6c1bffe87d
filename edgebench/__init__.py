"""edgebench: on-device inference benchmark for people who must decide on a deployment."""

__version__ = "0.1.0"

"""edgebench: on-device inference benchmark for people who must decide on a deployment."""

import os

__version__ = "0.1.0"

# In every process, as ONNX Runtime reads it once, when it is imported (edgebench.processes.telemetry).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

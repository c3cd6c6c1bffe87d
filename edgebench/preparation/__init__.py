"""A cell's model file: built, fixed, quantised and cached, with its reference and its inputs."""

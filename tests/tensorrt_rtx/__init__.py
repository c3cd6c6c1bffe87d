"""The backend trt on NVIDIA's own parser and builder: `make test-tensorrt-rtx`."""

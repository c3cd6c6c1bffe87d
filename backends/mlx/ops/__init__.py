"""ONNX operators in MLX, one file per kind."""

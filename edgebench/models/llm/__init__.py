"""Language models: GGUF files, their tokenizers and chat templates, an fp32 reference, ONNX graphs."""

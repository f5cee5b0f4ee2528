"""A Qwen2.5-VL checkpoint on ONNX Runtime, without torch and transformers."""

"""SAM2 checkpoints to ONNX graphs, each checked against the checkpoint itself before it is kept. Needs torch."""

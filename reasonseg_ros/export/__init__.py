"""Exports SAM2 checkpoints to ONNX graphs, and checks each against the checkpoint. Needs torch."""

"""Exports a checkpoint to the graphs of `reasoner.onnx`. Needs torch, so only its verb imports it."""

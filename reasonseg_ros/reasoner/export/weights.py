"""Quantizes the weights of exported graphs."""

from __future__ import annotations

from pathlib import Path

import onnx

BITS = {"int8": 8, "int4": 4}
BLOCK = 32
"""Number of weights that share a scale."""


def embed_weights(path: Path) -> None:
    """Move weights from other files into the graph file."""
    onnx.save(onnx.load(path), path)


def quantize_weights(path: Path, precision: str) -> None:
    """Store the matrices of a folded graph in 8 or 4 bits, with a scale for each block."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, bits=BITS[precision])
    quantizer = MatMulNBitsQuantizer(onnx.load(path), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(path))

"""Builds engines of all four graphs for absent GPUs. TensorRT for RTX needs no GPU to build."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16

from reasonseg_ros.engine.loading import SIZES
from reasonseg_ros.engine.manifest import Manifest
from reasonseg_ros.engine.tensorrt import library
from reasonseg_ros.engine.tensorrt_builder import BuildOptions, build
from reasonseg_ros.errors import ModelError
from reasonseg_ros.export.graphs import describe

CAPABILITIES = ("8.6", "8.9", "12.0")


@pytest.mark.parametrize("name", ["encoder", "decoder", "memory_attention", "memory_encoder"])
def test_every_graph_builds_for_three_generations_of_gpus(
    exported: tuple[Path, Manifest], tmp_path: Path, name: str
) -> None:
    """In float16 and with free numbers of objects and points. Building compares inputs and outputs."""
    try:
        library("tensorrt_rtx")
    except ModelError as error:
        pytest.skip(str(error))
    folder, manifest = exported
    path = tmp_path / "graph.onnx"
    onnx.save(convert_float_to_float16(onnx.load(folder / manifest.graphs[name].file)), path)
    graph = describe(path)
    assert {tensor.name for tensor in graph.outputs} == {tensor.name for tensor in manifest.graphs[name].outputs}
    weights_bytes = sum(len(weight.raw_data) for weight in onnx.load(path).graph.initializer)
    plan = build(path, graph, BuildOptions("tensorrt_rtx", SIZES, CAPABILITIES))
    assert weights_bytes < len(plan) < 4 * weights_bytes + 20_000_000  # the rest are kernels

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest

from reasonseg_ros.engine.manifest import Manifest


@pytest.mark.parametrize("name", ["encoder", "decoder", "memory_encoder"])
def test_onnxruntime_makes_one_kernel_of_every_gelu(exported: tuple[Path, Manifest], tmp_path: Path, name: str) -> None:
    folder, manifest = exported
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3  # that such a file is for this machine only
    onnxruntime.InferenceSession(folder / manifest.graphs[name].file, options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert counts["Gelu"] > 0 and counts["Erf"] == 0, counts

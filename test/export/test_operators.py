"""One table of operators for all graphs of a process: the same graphs, and no export changes another one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from reasonseg_ros.export import operators
from reasonseg_ros.export.graphs import OPSET, write_module
from reasonseg_ros.export.operators import operators_read_once


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(self.layer(x)).softmax(-1)


def write(module: nn.Module, path: Path) -> bytes:
    write_module(module, {"x": (torch.zeros(2, 4), {0: torch.export.Dim("N")})}, ("y",), path)
    return path.read_bytes()


def test_the_table_is_read_once_and_the_graphs_stay_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read, method = [], vars(ONNXRegistry)["from_torchlib"]

    def counted(kind: type, *versions: object, **named: object) -> ONNXRegistry:
        read.append(named)
        return method.__func__(kind, *versions, **named)

    monkeypatch.setattr(ONNXRegistry, "from_torchlib", classmethod(counted))
    monkeypatch.setattr(operators, "_read", {})
    module = Layer()
    first, second = write(module, tmp_path / "a.onnx"), write(module, tmp_path / "b.onnx")
    assert len(read) == 1
    monkeypatch.setattr(operators, "_copy", lambda table: method.__func__(ONNXRegistry, OPSET))  # a new one each time
    assert first == second == write(module, tmp_path / "c.onnx")


def test_what_one_export_registers_is_unknown_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    method, target = vars(ONNXRegistry)["from_torchlib"], torch.ops.aten.relu.default
    with operators_read_once():
        first = ONNXRegistry.from_torchlib(opset_version=OPSET)
        known = len(first.get_decomps(target))
        first.register_op(target, lambda x: x)
        assert len(first.get_decomps(target)) == known + 1
        assert len(ONNXRegistry.from_torchlib(opset_version=OPSET).get_decomps(target)) == known > 0
    assert vars(ONNXRegistry)["from_torchlib"] is method


def test_a_torch_without_this_class_exports_as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = Layer()
    expected = write(module, tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, ONNXRegistry.__module__, ModuleType(ONNXRegistry.__module__))
    with operators_read_once():
        pass
    monkeypatch.undo()
    assert write(module, tmp_path / "b.onnx") == expected

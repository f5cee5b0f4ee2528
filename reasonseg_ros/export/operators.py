"""The ONNX operators that torch's exporter knows, read once for all graphs of a process."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_read: dict[tuple[object, ...], Any] = {}


@contextmanager
def operators_read_once() -> Iterator[None]:
    """Exports inside it share one table of operators.

    The exporter otherwise parses the source of its 500 operators for each graph: for a small graph, most of the time.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        method = vars(ONNXRegistry)["from_torchlib"]
    except (ImportError, KeyError):  # not a public class: other versions of torch may have none
        yield
        return
    read = ONNXRegistry.from_torchlib

    def shared(*versions: object, **named: object) -> Any:
        key = (*versions, *sorted(named.items()))
        if key not in _read:
            _read[key] = read(*versions, **named)
        return _copy(_read[key])

    ONNXRegistry.from_torchlib = staticmethod(shared)
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = method


def _copy(table: Any) -> Any:
    """A table whose changes, such as operators that an export adds, end with that export."""
    copied = copy.copy(table)
    copied.functions = {operator: list(functions) for operator, functions in table.functions.items()}
    return copied

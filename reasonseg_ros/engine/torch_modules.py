"""Runs graphs that have not been exported: torch modules with the same inputs and outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import DTypeLike

from reasonseg_ros.engine.port import Value, to_host
from reasonseg_ros.errors import OutOfMemory


class TorchModule:
    """A module with an engine's `run` and `zeros`. Kept outputs are torch tensors on `device`, also on the CPU."""

    def __init__(
        self, name: str, module: torch.nn.Module, inputs: Sequence[str], outputs: Sequence[str], device: torch.device
    ) -> None:
        self.name = name
        self.largest: Mapping[str, int] = {}
        self._module = module.eval().requires_grad_(False).to(device)
        self._inputs, self._outputs, self._device = tuple(inputs), tuple(outputs), device

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Value]:
        """All outputs by name: those in `keep` as tensors, the others as numpy arrays. Raises OutOfMemory."""
        try:
            with torch.inference_mode():
                results = self._module(*(torch.as_tensor(inputs[name], device=self._device) for name in self._inputs))
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"the segmenter's {self.name} ran out of memory on {self._device}; track fewer targets"
            ) from error
        results = (results,) if isinstance(results, torch.Tensor) else results
        return {
            name: value if name in keep else to_host(value) for name, value in zip(self._outputs, results, strict=True)
        }

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Value:
        """A tensor of zeros on the device."""
        return torch.zeros(shape, dtype=getattr(torch, np.dtype(dtype).name), device=self._device)

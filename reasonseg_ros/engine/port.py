"""The interface to one exported graph on any runtime and device.

Values are numpy arrays or, for engines on a GPU, torch tensors on that GPU. An output that is kept on the device can be
passed directly to the next engine. Both kinds support the same indexing and assignment, so a ring buffer of memories is
`ring = engine.zeros(shape, dtype)` and then `ring[target, slot] = features[0]` on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from reasonseg_ros.engine.manifest import Tensor
from reasonseg_ros.errors import InvalidInput, ModelError

Report = Callable[[str, "float | None"], None]
"""Called with the current step, which may take minutes, and its progress from 0 to 1; None if not known."""

Value = Any
"""numpy array, or a torch tensor on the engine's GPU."""


NOT_FINITE_REMEDY = "set segmenter.dtype to float32, use an fp32 export, or download the checkpoint again"


class Engine(Protocol):
    """One graph, ready to run. Calls from several threads wait for each other.

    Attributes:
        name: of the graph, for example `encoder`.
        runtime: library, version and device, for reports.
        device: `cpu` or `cuda:0`; device of kept outputs and of `zeros`.
        inputs, outputs: by name, in the graph's order.
        largest: maximum size of each free dimension by name; names that are missing have no limit.
    """

    name: str
    runtime: str
    device: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    largest: Mapping[str, int]

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Value]:
        """All outputs by name: those in `keep` stay on the device, the others are numpy arrays.

        Raises InvalidInput for a wrong name or shape, OutOfMemory if the device is out of memory.
        """
        ...

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Value:
        """A value of zeros on the device."""
        ...

    def close(self) -> None:
        """Release the device's memory. The engine cannot run afterwards."""
        ...


def to_host(value: Value) -> NDArray[Any]:
    """`value` as a numpy array, copied from the GPU if needed."""
    if isinstance(value, np.ndarray):
        return value
    array: NDArray[Any] = value.detach().cpu().numpy()
    return array


def check_finite(stage: str, values: Mapping[str, Value]) -> None:
    """Raises ModelError with the stage if a floating-point array or tensor holds NaN or infinity.

    Damaged weights and overflows in half precision give such values, and masks computed from them look normal.
    """
    for name, value in values.items():
        if not _is_finite(value):
            raise ModelError(f"{stage}: {name} holds numbers that are not finite; {NOT_FINITE_REMEDY}")


def _is_finite(value: Value) -> bool:
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            return True
        # The sum is several times faster than a test of each value. It overflows for no real feature map.
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(value.sum(dtype=np.float32)) or np.isfinite(value).all())
    if not value.is_floating_point():
        return True
    import torch

    return bool(value.sum(dtype=torch.float32).isfinite() or value.isfinite().all())


def check_inputs(engine: Engine, inputs: Mapping[str, Value]) -> None:
    """Raises InvalidInput if names, number of dimensions or sizes do not fit the graph."""
    if inputs.keys() != engine.inputs.keys():
        raise InvalidInput(f"{engine.name}: inputs {sorted(inputs)}; expected {sorted(engine.inputs)}")
    sizes: dict[str, int] = {}
    for name, tensor in engine.inputs.items():
        shape = tuple(inputs[name].shape)
        fits = len(shape) == len(tensor.shape)
        for size, expected in zip(shape, tensor.shape, strict=False):
            if isinstance(expected, str):
                limit = engine.largest.get(expected, size)
                fits &= 1 <= size <= limit and sizes.setdefault(expected, size) == size
            else:
                fits &= size == expected
        if not fits:
            limits = "".join(f", {key} up to {value}" for key, value in engine.largest.items())
            raise InvalidInput(f"{engine.name}: {name} has shape {list(shape)}; expected {list(tensor.shape)}{limits}")


def warm_up(engine: Engine) -> None:
    """Run once on zeros, so that the library's initialisation does not delay the first image."""
    zeros = {}
    for name, tensor in engine.inputs.items():
        zeros[name] = np.zeros(shape_of(tensor, dict.fromkeys(tensor.shape, 1)), tensor.dtype)
    engine.run(zeros)


def by_name(tensors: Iterable[Tensor]) -> Mapping[str, Tensor]:
    return {tensor.name: tensor for tensor in tensors}


def shape_of(tensor: Tensor, sizes: Mapping[Any, int]) -> tuple[int, ...]:
    """The tensor's shape with these sizes of the free dimensions."""
    return tuple(sizes[size] if isinstance(size, str) else size for size in tensor.shape)


def free_sizes(tensors: Mapping[str, Tensor], values: Mapping[str, Value]) -> dict[str, int]:
    """Sizes of the free dimensions of a graph's inputs in `values`, by name."""
    return {
        symbol: size
        for name, tensor in tensors.items()
        for symbol, size in zip(tensor.shape, values[name].shape, strict=True)
        if isinstance(symbol, str)
    }

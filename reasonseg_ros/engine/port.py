"""What runs one exported graph, wherever it runs.

Values are numpy arrays in the machine's memory, or, for engines on a GPU, torch tensors there: an output that was kept
on the device goes straight into the next engine. Both kinds are indexed and assigned alike, so that a ring of memories
is `ring = engine.zeros(shape, dtype)` and then `ring[target, slot] = features[0]` on any device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from reasonseg_ros.errors import InvalidInput

Value = Any
"""numpy array, or a torch tensor on the engine's GPU."""


@dataclass(frozen=True)
class Port:
    """An input or output of a graph. `shape` has names where a size is free, for example `("N", "P", 2)`."""

    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]


class Engine(Protocol):
    """One graph, ready to run. Calls from several threads wait for each other.

    Attributes:
        name: which graph, for example `encoder`.
        runtime: library, version and device in words, for reports.
        device: `cpu` or `cuda:0`; where kept outputs and `zeros` live.
        inputs, outputs: by name, in the graph's order.
        largest: greatest size of a free dimension by its name; a name that is missing has no limit.
    """

    name: str
    runtime: str
    device: str
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    largest: Mapping[str, int]

    def run(self, inputs: Mapping[str, Value], keep: Collection[str] = ()) -> dict[str, Value]:
        """All outputs by name: those in `keep` stay on the device, the others come back as numpy arrays.

        Raises InvalidInput for a wrong name, type or shape, OutOfMemory where the device has no room.
        """
        ...

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Value:
        """A value of zeros on the device."""
        ...

    def close(self) -> None:
        """Give the device's memory back. The engine cannot run afterwards."""
        ...


def to_host(value: Value) -> NDArray[Any]:
    """`value` as a numpy array; from a GPU it is copied."""
    if isinstance(value, np.ndarray):
        return value
    array: NDArray[Any] = value.detach().cpu().numpy()
    return array


def check_inputs(engine: Engine, inputs: Mapping[str, Value]) -> None:
    """Raises InvalidInput where names, number of dimensions or sizes are not those of the graph."""
    if inputs.keys() != engine.inputs.keys():
        raise InvalidInput(f"{engine.name}: inputs {sorted(inputs)}; expected {sorted(engine.inputs)}")
    sizes: dict[str, int] = {}
    for name, port in engine.inputs.items():
        shape = tuple(inputs[name].shape)
        fits = len(shape) == len(port.shape)
        for size, expected in zip(shape, port.shape, strict=False):
            if isinstance(expected, str):
                limit = engine.largest.get(expected, size)
                fits &= 1 <= size <= limit and sizes.setdefault(expected, size) == size
            else:
                fits &= size == expected
        if not fits:
            limits = ", ".join(f"{key} up to {value}" for key, value in engine.largest.items())
            raise InvalidInput(
                f"{engine.name}: {name} has shape {list(shape)}; expected {list(port.shape)}{limits and f', {limits}'}"
            )


def warm_up(engine: Engine) -> None:
    """Run once on zeros, so that the first image does not pay for what a library does on its first run."""
    one = {
        name: np.zeros([size if isinstance(size, int) else min(2, engine.largest.get(size, 2)) for size in port.shape],
                       port.dtype)
        for name, port in engine.inputs.items()
    }  # fmt: skip
    engine.run(one)

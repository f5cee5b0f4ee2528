"""Memory of this machine, and whether a checkpoint's weights fit into it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros.engine.gpu import Gpu, gpus

GIB = 2**30
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
BYTES = {"cpu": 4, "cuda": 2}
"""Bytes per parameter with the default types: float32 on a CPU, bfloat16 on a GPU."""
MOST_SHARE = 0.8
"""Weights up to this share of the memory fit: images, features and the key-value cache need the rest."""


@dataclass(frozen=True)
class MachineMemory:
    """The memory that models can use.

    Attributes:
        ram_bytes: of the machine, or the container's limit if that is lower.
        gpus: NVIDIA GPUs.
    """

    ram_bytes: int
    gpus: tuple[Gpu, ...] = ()


def machine_memory() -> MachineMemory:
    """The memory of this machine. Asks the driver for GPUs, without loading torch."""
    ram_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return MachineMemory(min([ram_bytes, *_container_limits()]), gpus())


def _container_limits() -> list[int]:
    limits = []
    for name in CGROUP_LIMITS:
        try:
            limits.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # no such file, or `max`
            continue
    return limits


@dataclass(frozen=True)
class Fit:
    """Whether weights fit on a device.

    Attributes:
        place: `CPU`, or the GPU's name.
        weights_bytes: size of the weights in the device's default type.
    """

    place: str
    weights_bytes: int
    memory_bytes: int

    @property
    def is_enough(self) -> bool:
        return self.weights_bytes <= MOST_SHARE * self.memory_bytes

    def __str__(self) -> str:
        word = "fits" if self.is_enough else "too large"
        return f"{word}: {self.weights_bytes / GIB:.2f} of {self.memory_bytes / GIB:.1f} GiB on the {self.place}"


def best_fit(parameters: int, memory: MachineMemory) -> Fit:
    """The largest GPU if the weights fit there, else the CPU if they fit there. If neither, the GPU if there is one."""
    fits = [Fit("CPU", parameters * BYTES["cpu"], memory.ram_bytes)]
    if memory.gpus:
        largest = max(memory.gpus, key=lambda gpu: gpu.memory_bytes)
        fits.insert(0, Fit(largest.name, parameters * BYTES["cuda"], largest.memory_bytes))
    return next((fit for fit in fits if fit.is_enough), fits[0])

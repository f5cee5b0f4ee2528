"""Where a model's weights go, in which number type, with how many threads. Never another device than was asked for."""

from __future__ import annotations

import os

import torch

from reasonseg_ros.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The torch device of that name; `auto` is cuda if there is a GPU, else cpu.

    Raises ConfigError if there is no such device: running a 7B model on the CPU by accident helps nobody.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device = {name!r} cannot be used: {error}; use auto or cpu") from error
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """float32, bfloat16 or float16; `auto` is bfloat16 on a GPU and float32 on the CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16. A CPU without them emulates it and takes three times as long.

    False for a CPU if this version of torch cannot say.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(value is True for name, value in capabilities.items() if "bf16" in name)


def use_threads(threads: int) -> None:
    """How many threads of the CPU torch uses in this process.

    0 leaves a core to whatever runs beside it, unless `OMP_NUM_THREADS` says how many: torch's threads wait for each
    other without sleeping, so that one which finds no core holds up all of them, and takes others' time meanwhile.
    """
    if threads:
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) - 1)))

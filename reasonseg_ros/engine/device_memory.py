"""GPU memory for engines, as torch tensors. torch is imported when the first engine on a GPU is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from reasonseg_ros.errors import ModelError


class DeviceMemory:
    """Allocates on a device and copies to it, on torch's current stream."""

    def __init__(self, device: str) -> None:
        try:
            import torch
        except ImportError as error:
            raise ModelError(f"engines on a GPU keep their memory in torch tensors; install torch ({error})") from error
        self.torch = torch
        self.device = torch.device(device)

    def dtype(self, dtype: DTypeLike) -> Any:
        """The torch dtype of a numpy type."""
        return self.torch.from_numpy(np.empty(0, dtype)).dtype

    def put(self, value: Any, dtype: DTypeLike) -> Any:
        """`value` as a contiguous tensor on the device; not copied if it is one already."""
        if isinstance(value, np.ndarray):
            value = self.torch.from_numpy(np.require(value, dtype, ["C", "W"]))
        return value.to(self.device, self.dtype(dtype)).contiguous()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        return self.torch.empty(shape, dtype=self.dtype(dtype), device=self.device)

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        return self.torch.zeros(shape, dtype=self.dtype(dtype), device=self.device)

    def synchronize(self) -> None:
        """Wait for the current stream."""
        if self.device.type == "cuda":
            self.torch.cuda.current_stream(self.device).synchronize()

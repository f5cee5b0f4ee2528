"""Where each weight is in a checkpoint's safetensors files, so that a graph can refer to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros.files.safetensors_header import stored_tensors
from reasonseg_ros.hub_cache import weight_files


@dataclass(frozen=True)
class StoredWeight:
    """`file` is a name in the folder; `offset`, from its start, and `length` in bytes; `dtype` as in safetensors."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def stored_weights(folder: Path) -> dict[str, StoredWeight]:
    """All weights of a checkpoint by name. Raises ModelError if there are none, or a file is damaged."""
    return {
        name: StoredWeight(path.name, tensor.dtype, tensor.shape, tensor.offset, tensor.length)
        for path in weight_files(folder)
        for name, tensor in stored_tensors(path).items()
    }

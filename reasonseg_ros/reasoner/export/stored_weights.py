"""Where each weight is in a checkpoint's safetensors files, so that a graph can refer to it.

Format: 8 bytes with the header's length, the header as JSON (name to type, shape and begin and end), then the data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub_cache import INDEX, WEIGHTS

LONGEST_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class StoredWeight:
    """`file` is a name in the folder; `offset`, from its start, and `length` in bytes; `dtype` as in safetensors."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def stored_weights(folder: Path) -> dict[str, StoredWeight]:
    """All weights of a checkpoint by name. Raises ModelError if there are none, or a header is damaged."""
    files = [WEIGHTS] if (folder / WEIGHTS).is_file() else []
    try:
        if not files:
            files = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        weights: dict[str, StoredWeight] = {}
        for name in files:
            weights |= _of_file(folder, Path(name).name)
        return weights
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"weights in {folder} cannot be read: {error}; download the checkpoint again") from error


def _of_file(folder: Path, name: str) -> dict[str, StoredWeight]:
    with (folder / name).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > LONGEST_HEADER_BYTES:
            raise ValueError(f"the header of {name} has {length} bytes")
        header = json.loads(file.read(length))
    weights = {}
    for key, entry in header.items():
        if key != "__metadata__":
            begin, end = entry["data_offsets"]
            weights[key] = StoredWeight(name, entry["dtype"], tuple(entry["shape"]), 8 + length + begin, end - begin)
    return weights

"""Reads the header of a safetensors file: name, type, shape and place of each tensor, without its values.

Format: 8 bytes with the header's length, the header as JSON, then the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.strict_json import parse_json

MAX_HEADER_BYTES = 100_000_000
"""The format's limit for its header."""
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class StoredTensor:
    """`dtype` as in the header, for example `BF16`; `offset` from the start of the file and `length`, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file by name. Raises ModelError if the file is missing, damaged or cut off."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            start = _LENGTH_BYTES + length
            if not 2 <= length <= MAX_HEADER_BYTES or start > size:
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = parse_json(file.read(length))
        tensors = {name: _tensor(entry, start) for name, entry in header.items() if name != "__metadata__"}
        end = max((tensor.offset + tensor.length for tensor in tensors.values()), default=start)
        if size < end:
            raise ValueError(f"{size} bytes of {end}")
        return tensors
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; fetch the checkpoint again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is no whole safetensors file ({error}); fetch the checkpoint again") from error


def _tensor(entry: Any, start: int) -> StoredTensor:
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)) or begin > end:
        raise ValueError(f"a tensor of shape {entry['shape']} at {entry['data_offsets']}")
    return StoredTensor(str(entry["dtype"]), shape, start + begin, end - begin)

"""Counts the parameters in a checkpoint's safetensors files."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub_cache import weight_files

MAX_HEADER_BYTES = 100_000_000
"""The format's limit for its header."""


def parameter_count(folder: Path) -> int:
    """Number of parameters, from the headers of the files. Raises ModelError if a file is missing or damaged."""
    return sum(_count(path) for path in weight_files(folder))


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if not 2 <= size <= min(MAX_HEADER_BYTES, path.stat().st_size):
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
        tensors = [value for name, value in header.items() if name != "__metadata__"]
        end = 8 + size + max((tensor["data_offsets"][1] for tensor in tensors), default=0)
        if path.stat().st_size < end:
            raise ValueError(f"{path.stat().st_size} bytes of {end}")
        return sum(math.prod(tensor["shape"]) for tensor in tensors)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; fetch the checkpoint again") from error
    except (ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(f"{path} is no whole safetensors file ({error}); fetch the checkpoint again") from error

"""Reads whole files and standard input with a limit, because a device or a pipe may never end."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import BinaryIO

MOST_TEXT_BYTES = 64 * 2**20
"""Limit of texts that people write: parameters, questions, prompts, a model's answer."""
MOST_DATA_BYTES = 2 * 2**30
"""Limit of images and annotations. The largest published annotation file, LVIS, has 1.1 GB."""
_PART_BYTES = 2**20


def read_data(path: Path, most_bytes: int = MOST_DATA_BYTES) -> bytes:
    """The content of a file. Raises OSError, also for one that is larger than `most_bytes` or does not end."""
    with path.open("rb") as file:
        return _read(file, most_bytes, str(path))


def read_text(path: Path) -> str:
    """The content of a UTF-8 text file. Raises OSError, as `read_data`, and UnicodeDecodeError."""
    return read_data(path, MOST_TEXT_BYTES).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def read_standard_input() -> bytes:
    """All of standard input. Raises OSError if it does not end within the limit of texts."""
    return _read(sys.stdin.buffer, MOST_TEXT_BYTES, "standard input")


def _read(file: BinaryIO, most_bytes: int, name: str) -> bytes:
    # In parts, because `read(size)` reserves that much memory, however small the file is.
    data = bytearray()
    while part := file.read(min(_PART_BYTES, most_bytes + 1 - len(data))):
        data += part
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"{os.strerror(errno.EFBIG)}, over {most_bytes >> 20} MB", name)
    return bytes(data)

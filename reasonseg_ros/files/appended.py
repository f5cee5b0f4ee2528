"""Files of JSON lines for appending. A written line is on the disk even if the process is killed right after."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

from reasonseg_ros.faults import naming
from reasonseg_ros.files.strict_json import json_text


def open_appended(path: Path) -> BinaryIO:
    """Open a file to read and write bytes from its start, and create it if it is missing. An OSError names `path`.

    A symbolic link is refused, because lines would be appended to its target.
    """
    with naming(path):
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")


def append_line(file: BinaryIO, values: Any) -> None:
    """Write `values` as one line at the file's position. It is on the disk when this returns."""
    file.write(json_text(values).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())

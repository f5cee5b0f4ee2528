"""Files of JSON lines to which processes append. What is written stays, also if the process is killed right after."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

from reasonseg_ros.faults import naming
from reasonseg_ros.files.strict_json import json_text


def open_appended(path: Path) -> BinaryIO:
    """Open a file to read and write bytes, from its start; an absent one is made. An OSError names `path`.

    A symbolic link is refused: the lines would be appended to whatever it leads to.
    """
    with naming(path):
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")


def append_line(file: BinaryIO, values: Any) -> None:
    """Write `values` as one line where the file stands. On the disk when it returns."""
    file.write(json_text(values).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())

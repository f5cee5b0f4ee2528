"""Writes files atomically: a file is replaced only when the new one is complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from reasonseg_ros.faults import naming

ENDING = ".part"


@contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write (`w` is UTF-8 text, `wb` bytes) that replaces `path` at the end of the `with` statement.

    Until then, and after an error, the old file stays. The new one is written beside it under a random name, so no
    symbolic link can redirect it. An OSError names `path`.
    """
    with naming(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=ENDING)
        try:
            with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
                os.fchmod(file.fileno(), 0o666 & ~_umask())
                yield file
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def remove_unfinished(folder: Path, pattern: str) -> None:
    """Remove incomplete files of killed processes, for files in a folder that match `pattern`, such as `*.jpg`."""
    for path in folder.glob(f".{pattern}.*{ENDING}"):
        path.unlink(missing_ok=True)


@cache  # reading the mask changes it for a moment, which other threads must not see
def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

"""A folder of black boxes with a size limit. The oldest files are removed to make room."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import naming
from reasonseg_ros.files.whole_file import remove_unfinished, whole_file

_NAME = re.compile(r"blackbox_[0-9]{8}T[0-9]{9}Z_.*\.mcap")
"""Only files with such names are counted and removed, because a folder may hold other bags."""
LONGEST_ID = 60


def file_name(recorded: str, status: str, query_id: str) -> str:
    """A name that sorts by `recorded`, a UTC time of ISO 8601 with milliseconds, such as 2026-11-28T00:12:34.567Z."""
    time_of = re.sub(r"[^0-9TZ]", "", recorded)
    identity = re.sub(r"[^A-Za-z0-9.-]", "-", query_id)[:LONGEST_ID] or "q"
    return f"blackbox_{time_of}_{status}_{identity}.mcap"


class BoundedFolder:
    """A folder for one thread of one process. Two nodes need two folders."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def remove_half_written(self) -> None:
        """Remove incomplete files of a killed process. Raises OSError."""
        remove_unfinished(self.path, "blackbox_*.mcap")

    def keep(self, name: str, data: bytes, max_bytes: int) -> Path:
        """Remove the oldest files if needed, write a file atomically and to the disk, and return its path.

        Raises InvalidInput if it is larger than `max_bytes`, and OSError if it cannot be written.
        """
        if len(data) > max_bytes:
            raise InvalidInput(
                f"{name} has {len(data) / 1e6:.1f} MB, more than record.max_mb = {max_bytes / 1e6:g} allows; raise it, "
                "or lower record.around_images"
            )
        with naming(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._make_room(name, max_bytes - len(data))
        with whole_file(self.path / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a robot may lose power at any time
        return self.path / name

    def files(self) -> dict[Path, int]:
        """The black boxes with their sizes in bytes, oldest first."""
        found = {}
        for path in sorted(self.path.glob("blackbox_*.mcap")):
            with suppress(FileNotFoundError):  # it may be removed meanwhile
                if _NAME.fullmatch(path.name):
                    found[path] = path.stat().st_size
        return found

    def _make_room(self, name: str, left_bytes: int) -> None:
        files = self.files()
        files.pop(self.path / name, None)  # it is replaced
        used = sum(files.values())
        for path, size in files.items():
            if used <= left_bytes:
                return
            path.unlink(missing_ok=True)
            used -= size

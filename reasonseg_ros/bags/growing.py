"""A bag that grows and shrinks by parts: each part is one MCAP file, and metadata.yaml names the current ones.

It is an ordinary split bag at any time. Parts are added and removed atomically. The remains of a killed process are
cleaned up when the bag is opened again.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reasonseg_ros.bags.files import METADATA
from reasonseg_ros.bags.messages import typestore
from reasonseg_ros.bags.reader import BagReader
from reasonseg_ros.bags.records import Damage
from reasonseg_ros.bags.writer import BagWriter
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.whole_file import whole_file

REMOVED = ".removed"
_PART = re.compile(r"([a-z]+)_(\d+)\.mcap")
METADATA_VERSION = 9


@dataclass(frozen=True)
class Part:
    """One file: name without `.mcap`, number of messages by topic and message type, first and last log time."""

    name: str
    counts: dict[tuple[str, str], int]
    first_ns: int
    last_ns: int


class GrowingBag:
    """The bag in `folder` with its parts in the order of their numbers. For one thread of one process at a time."""

    def __init__(self, folder: Path, prefix: str = "part") -> None:
        """Raises InvalidInput if the folder holds other files, or a part cannot be read."""
        self.folder = folder.absolute()
        self._prefix = prefix
        files = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        if self.folder.exists() and not self.folder.is_dir():
            raise InvalidInput(f"{folder} is a file; choose a folder")
        wrong = [path.name for path in files if not self._is_own(path)]
        if wrong:
            raise InvalidInput(f"{folder} holds {wrong[0]}, which is no part of this bag; choose another folder")
        for path in files:
            if path.name.startswith("."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        numbered = [path for path in files if _PART.fullmatch(path.name)]
        self.parts: dict[str, Part] = {path.stem: _read_part(path) for path in sorted(numbered, key=_number)}
        self._next = 1 + max((_number(path) for path in numbered), default=0)
        if numbered:
            self._write_metadata()

    def next_name(self) -> str:
        """The name of the next part."""
        return f"{self._prefix}_{self._next:04d}"

    def add(self, write: Callable[[BagWriter], None]) -> str:
        """Add a part with the messages that `write` writes, and return its name. On error the bag is not changed."""
        name = self.next_name()
        self.folder.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=".adding.", dir=self.folder))
        try:
            with BagWriter(workplace / name) as bag:
                write(bag)
            part = _read_part(workplace / name / f"{name}.mcap")
            os.replace(workplace / name / f"{name}.mcap", self.path(name))
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
        self.parts[name] = part
        self._next += 1
        self._write_metadata()
        return name

    def remove(self, name: str) -> None:
        """Remove a part. `restore` can undo this until the bag is opened again.

        Raises InvalidInput if there is no such part, and OSError if it cannot be removed. Then the bag is not changed.
        """
        if name not in self.parts:
            raise InvalidInput(f"there is no part {name!r:.50}; there are {', '.join(self.parts) or 'none'}")
        self._removed(name).unlink(missing_ok=True)
        before = dict(self.parts)
        del self.parts[name]
        try:
            self._write_metadata()
            os.replace(self.path(name), self._removed(name))
        except OSError:
            self.parts = before
            with suppress(OSError):  # the disk may be what failed
                self._write_metadata()
            raise

    def restore(self, name: str) -> None:
        """Undo `remove`. Raises InvalidInput if the part is no longer there."""
        if not self._removed(name).is_file():
            raise InvalidInput(f"the part {name!r:.50} is no longer there")
        os.replace(self._removed(name), self.path(name))
        self.parts[name] = _read_part(self.path(name))
        self.parts = dict(sorted(self.parts.items(), key=lambda item: _number(self.path(item[0]))))
        self._write_metadata()

    def path(self, name: str) -> Path:
        """The file of a part."""
        return self.folder / f"{name}.mcap"

    def _removed(self, name: str) -> Path:
        return self.folder / f".{name}{REMOVED}"

    def _is_own(self, path: Path) -> bool:
        found = _PART.fullmatch(path.name)
        if found:
            return found[1] == self._prefix and path.is_file()
        return path.name == METADATA or path.name.startswith((".adding.", f".{METADATA}.", f".{self._prefix}_"))

    def _write_metadata(self) -> None:
        path = self.folder / METADATA
        if not self.parts:
            path.unlink(missing_ok=True)
            return
        with whole_file(path) as file:
            yaml.safe_dump({"rosbag2_bagfile_information": _metadata_of(list(self.parts.values()))}, file)


def _metadata_of(parts: list[Part]) -> dict[str, Any]:
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts.update(part.counts)
    first_ns, last_ns = min(part.first_ns for part in parts), max(part.last_ns for part in parts)
    names = [f"{part.name}.mcap" for part in parts]
    return {
        "version": METADATA_VERSION,
        "storage_identifier": "mcap",
        "relative_file_paths": names,
        **_times(first_ns, last_ns),
        "message_count": sum(counts.values()),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic,
                    "type": kind,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": [],
                    "type_description_hash": typestore().hash_rihs01(kind),
                },
                "message_count": count,
            }
            for (topic, kind), count in sorted(counts.items())
        ],
        "compression_format": "",
        "compression_mode": "",
        "files": [
            {"path": name, **_times(part.first_ns, part.last_ns), "message_count": sum(part.counts.values())}
            for name, part in zip(names, parts, strict=True)
        ],
        "custom_data": None,
        "ros_distro": "rosbags",
    }


def _times(first_ns: int, last_ns: int) -> dict[str, Any]:
    return {
        "starting_time": {"nanoseconds_since_epoch": first_ns},
        "duration": {"nanoseconds": last_ns - first_ns},
    }


def _read_part(path: Path) -> Part:
    counts: Counter[tuple[str, str]] = Counter()
    stamps_ns = []
    with BagReader(path) as reader:
        for item in reader.records():
            if isinstance(item, Damage):
                raise InvalidInput(f"{path} is damaged ({item}); move it away")
            counts[item.topic.name, item.topic.message_type] += 1
            stamps_ns.append(item.stamp_ns)
    if not stamps_ns:
        raise InvalidInput(f"{path} holds no message; move it away")
    return Part(path.stem, dict(counts), min(stamps_ns), max(stamps_ns))


def _number(path: Path) -> int:
    found = _PART.fullmatch(path.name)
    return int(found[2]) if found else 0

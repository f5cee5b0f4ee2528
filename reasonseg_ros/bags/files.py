"""The files of a bag, and the content of its metadata.yaml."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.yaml_loader import Loader
from reasonseg_ros.plain_text import one_line

METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
MOST_METADATA_BYTES = 64 * 2**20


@dataclass
class Metadata:
    """The content of metadata.yaml, versions 1 to 9 of rosbag2.

    Attributes:
        files: names in the bag's folder, in the order of recording.
        counts: number of messages by topic.
        qos: YAML of the offered quality of service by topic.
        compression: format of compressed files or messages; empty if there is none.
        problem: why the file cannot be used; the other values are then empty.
    """

    files: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    qos: dict[str, str] = field(default_factory=dict)
    compression: str = ""
    problem: str = ""


def is_bag(path: Path) -> bool:
    """Whether this is a bag file, or a folder with one or with metadata.yaml."""
    return bool(path.is_dir() and ((path / METADATA).is_file() or _in_folder(path))) or (
        path.is_file() and path.name.endswith(SUFFIXES)
    )


def bag_files(path: Path) -> tuple[list[Path], list[Path], Metadata]:
    """The files of a bag in order, further files in its folder that are not read, and the content of metadata.yaml.

    The files are those that metadata.yaml names, which need not exist. Without metadata.yaml they are all bag files in
    the folder. Raises InvalidInput if there is no bag.
    """
    if not path.exists():
        raise InvalidInput(f"there is no bag at {path}")
    if path.is_file():
        if path.suffix == ".bag":
            raise InvalidInput(f"{path} is a ROS 1 bag; convert it with rosbags-convert (pip install rosbags)")
        if not path.name.endswith(SUFFIXES):
            raise InvalidInput(f"{path} is not a bag file; expected a name that ends in {', '.join(SUFFIXES)}")
        return [path], [], Metadata()
    metadata = read_metadata(path / METADATA) if (path / METADATA).is_file() else Metadata()
    found = _in_folder(path)
    if metadata.files:
        if metadata.compression not in ("", "none", "zstd"):
            raise InvalidInput(f"{path} is compressed with {metadata.compression!r:.50}; only zstd can be read")
        named = list(dict.fromkeys(_packed_or_not(path / name) for name in metadata.files))
        return named, [file for file in found if file not in named], metadata
    if found:
        taken = _of_one_storage(found)
        return taken, [file for file in found if file not in taken], metadata
    reason = f"no {METADATA} and no file *{', *'.join(SUFFIXES)}"
    if metadata.problem:
        reason = f"its {METADATA} {metadata.problem}"
    raise InvalidInput(f"{path} is not a bag that can be read: {reason}")


def _packed_or_not(path: Path) -> Path:
    """The file or, if it is missing, the same file that was compressed or unpacked after the recording."""
    other = path.with_suffix("") if path.suffix == ".zstd" else path.with_name(f"{path.name}.zstd")
    return other if not path.exists() and other.is_file() else path


def read_metadata(path: Path) -> Metadata:
    """Reads every version of the file. Never raises; a damaged file has a `problem`."""
    try:
        if path.stat().st_size > MOST_METADATA_BYTES:
            return Metadata(problem=f"has {path.stat().st_size} bytes")
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        return _metadata(values["rosbag2_bagfile_information"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError, RecursionError) as error:
        return Metadata(problem=f"cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})")


def _metadata(values: Mapping[str, Any]) -> Metadata:
    found = Metadata(compression=str(values.get("compression_format") or "").lower())
    for path in _list(values["relative_file_paths"]):
        # Up to version 3 paths began with the bag's folder. Files outside of the folder are never read.
        name = PurePosixPath(str(path)).name
        if name in ("", "..") or "\0" in name:
            raise ValueError(f"{path!r} names no file")
        found.files.append(name)
    for entry in _list(values.get("topics_with_message_count")):
        topic = entry["topic_metadata"]
        name = one_line(str(topic["name"]))
        count = entry["message_count"]
        if type(count) is not int or not 0 <= count < 2**64:
            raise ValueError(f"a message_count of {count!r:.50}")
        found.counts[name] += count
        qos = topic.get("offered_qos_profiles") or ""
        found.qos[name] = qos if isinstance(qos, str) else yaml.safe_dump(qos)
    return found


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise ValueError(f"{value!r:.50} is no list")
    return value or []


def _in_folder(path: Path) -> list[Path]:
    return sorted((file for file in path.iterdir() if file.is_file() and file.name.endswith(SUFFIXES)), key=_by_number)


def _of_one_storage(files: list[Path]) -> list[Path]:
    """Without metadata, prefers MCAP files to sqlite3 files, and a file to its compressed copy."""
    of_mcap = [file for file in files if ".mcap" in file.suffixes[-2:]] or files
    return [file for file in of_mcap if file.suffix != ".zstd" or file.with_suffix("") not in of_mcap]


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Sorts the parts of a split recording by number, so that bag_10 comes after bag_2."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part or 0), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


class _Loader(Loader):
    """Refuses aliases, with which a few bytes can describe a huge document."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias, which rosbag2 never writes")
        return super().compose_node(parent, index)

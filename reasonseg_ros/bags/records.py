"""What a bag file gives: messages in the order of log time, with the damaged parts in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Topic:
    """One topic of a bag, as its file describes it.

    Attributes:
        definition: text of the message type and of the types in it; empty if the file holds none.
        definition_format: `ros2msg` or `ros2idl`.
        offered_qos: YAML of the publishers' quality of service, as rosbag2 records it; may be empty.
        cannot_read: why its messages are skipped; empty if they are CDR messages of a named type.
    """

    name: str
    message_type: str
    definition: str = ""
    definition_format: str = "ros2msg"
    offered_qos: str = ""
    cannot_read: str = ""


@dataclass(frozen=True)
class Record:
    """One message as it was recorded; `stamp_ns` is its log time and `data` its CDR bytes."""

    topic: Topic
    stamp_ns: int
    data: bytes


@dataclass(frozen=True)
class Damage:
    """A part of a file that cannot be read.

    Attributes:
        place: byte offset or row, in words.
        reason: what is wrong, and what is lost by it.
        stamp_ns: log time at which it stands between the messages.
    """

    path: Path
    place: str
    reason: str
    stamp_ns: int = 0

    def __str__(self) -> str:
        return f"{self.path.name}: damaged at {self.place}: {self.reason}"


@dataclass
class Contents:
    """What a scan found in one file.

    Attributes:
        topics: every topic by its name, also those without messages or with messages that cannot be read.
        counts: messages of each topic, by the file's own count.
        start_ns: log time of the first message; None if there is none.
        end: why the file cannot be read up to its end; None if it can.
    """

    topics: dict[str, Topic] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    start_ns: int | None = None
    end: Damage | None = None


class BagFile(Protocol):
    """One file of a bag. Scanned when it is made; raises InvalidInput if it is no bag file at all."""

    path: Path
    contents: Contents

    def records(self, topics: Collection[str]) -> Iterator[Record | Damage]:
        """Messages of these topics in the order of log time, and all damage found on the way."""
        ...

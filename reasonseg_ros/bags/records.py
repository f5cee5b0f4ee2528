"""The interface of bag files: messages in the order of log time, and the damaged parts in between."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reasonseg_ros.plain_text import one_line


@dataclass(frozen=True)
class Topic:
    """One topic of a bag, from the description in its file.

    Attributes:
        definition: text of the message type and of the types in it; empty if the file has none.
        definition_format: `ros2msg` or `ros2idl`.
        offered_qos: YAML of the publishers' quality of service, as rosbag2 records it; may be empty.
        cannot_read: why its messages are skipped; empty if they are CDR messages of a named type.

    Names are converted to plain text on one line. `sensor_msgs/Image` becomes `sensor_msgs/msg/Image`.
    """

    name: str
    message_type: str
    definition: str = ""
    definition_format: str = "ros2msg"
    offered_qos: str = ""
    cannot_read: str = ""

    def __post_init__(self) -> None:
        kind = one_line(self.message_type)
        if kind.count("/") == 1:
            kind = kind.replace("/", "/msg/")
        for name, value in (("name", self.name), ("message_type", kind), ("cannot_read", self.cannot_read)):
            object.__setattr__(self, name, one_line(value))


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
        place: byte offset or row, as text.
        reason: what is wrong, and what is lost.
        stamp_ns: its place between the messages, as log time.
    """

    path: Path
    place: str
    reason: str
    stamp_ns: int = 0

    def __str__(self) -> str:
        return f"{self.path.name}: damaged at {self.place}: {self.reason}"


@dataclass
class Contents:
    """The result of scanning one file.

    Attributes:
        counts: number of messages of every topic by the file's own count, including topics that cannot be read.
        start_ns: log time of the first message; None if there is none.
        end: why the file cannot be read up to its end; None if it can.
        damages: further damage outside of the messages.
    """

    counts: Counter[Topic] = field(default_factory=Counter)
    start_ns: int | None = None
    end: Damage | None = None
    damages: list[Damage] = field(default_factory=list)

    @property
    def topics(self) -> list[Topic]:
        return list(self.counts)


class BagFile(Protocol):
    """One file of a bag. The constructor scans it, and raises InvalidInput if it is not a bag file."""

    path: Path
    contents: Contents

    def records(self, topics: Collection[str]) -> Iterator[Record | Damage]:
        """Messages of these topics in the order of log time, and all damage found meanwhile."""
        ...


Start = tuple[int, Callable[[], Iterator[Record | Damage]]]
"""A lower bound of the times in a part, and the function that starts reading it."""


def merged(parts: Sequence[Start]) -> Iterator[Record | Damage]:
    """Items of all parts in the order of log time; for equal times, in the order of the parts.

    The items of each part must be in order. Reading of a part starts when its time is due.
    """
    left = sorted(((start_ns, number) for number, (start_ns, _) in enumerate(parts)), reverse=True)
    running: list[tuple[int, int, Record | Damage, Iterator[Record | Damage]]] = []

    def advance(number: int, items: Iterator[Record | Damage]) -> None:
        if (item := next(items, None)) is not None:
            heapq.heappush(running, (item.stamp_ns, number, item, items))

    while running or left:
        while left and (not running or left[-1][0] <= running[0][0]):
            _, number = left.pop()
            advance(number, parts[number][1]())
        if running:
            _, number, item, items = heapq.heappop(running)
            yield item
            advance(number, items)

"""Gives recorded messages new header stamps, with the same distances as the recorded ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys.store import Typestore

from reasonseg_ros.bags.reader import decoded, store_of
from reasonseg_ros.bags.records import Record, Topic
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.stamps import header_stamp_ns, raw_stamp_ns, restamped

HEADER = "std_msgs/msg/Header"
CLOCK = "rosgraph_msgs/msg/Clock"
"""Simulated time. Its bytes are those of a header's stamp."""
LATEST_NS = 2**31 * 10**9 - 1
"""The latest stamp: seconds are int32."""
SAME_CLOCK_NS = 10 * 10**9
"""Headers are from the same clock if their offsets to log time differ by no more than this."""


@dataclass(frozen=True)
class _Clock:
    """A clock of the recording: the offset of its stamps to log time, and the offset that is subtracted from them."""

    ahead_ns: int
    begin_ns: int


class Restamping:
    """Maps recorded stamps to new ones.

    Stamps of the recorder's clock keep their distance to log time. Stamps of a device's clock, such as seconds since
    its start, begin at the log time of their first message.
    """

    def __init__(self, first_log_ns: int, now_ns: int, rate: float = 1.0) -> None:
        self._first_log_ns, self._now_ns, self._rate = first_log_ns, now_ns, rate
        self._clocks: list[_Clock] = []

    def stamp_ns(self, header_ns: int, log_ns: int) -> int:
        """The new stamp of a header, in nanoseconds. A header without a stamp (0) gets that of its log time."""
        in_log_ns = header_ns - self._clock(header_ns, log_ns).begin_ns if header_ns else log_ns
        return min(max(self._now_ns + round((in_log_ns - self._first_log_ns) / self._rate), 0), LATEST_NS)

    def _clock(self, header_ns: int, log_ns: int) -> _Clock:
        ahead_ns = header_ns - log_ns
        if abs(ahead_ns) <= SAME_CLOCK_NS:
            return _Clock(0, 0)
        for clock in self._clocks:
            if abs(ahead_ns - clock.ahead_ns) <= SAME_CLOCK_NS:
                return clock
        self._clocks.append(_Clock(ahead_ns, ahead_ns))
        return self._clocks[-1]

    def data(self, record: Record) -> bytes:
        """The record's bytes with new stamps in all headers, also inside lists and other messages, and a new `/clock`.

        Raises InvalidInput for a damaged message, and for a type that neither the bag nor this package defines.
        """
        if record.topic.message_type not in _store(record.topic).fielddefs:
            raise InvalidInput(f"the bag does not define {record.topic.message_type}, so its stamps cannot be changed")
        places = header_places(record.topic)
        is_clock = record.topic.message_type == CLOCK
        if not places and not is_clock:
            return record.data
        if is_clock or (places == ("header",) and _begins_with_header(record.topic)):
            return restamped(record.data, self.stamp_ns(raw_stamp_ns(record.data), record.stamp_ns))
        store, kind = _store(record.topic), record.topic.message_type
        message = decoded(record)
        for place in places:
            self._stamp(message, place.split("."), record.stamp_ns)
        return bytes(store.serialize_cdr(message, kind))

    def _stamp(self, value: Any, path: list[str], log_ns: int) -> None:
        if isinstance(value, list | tuple):
            for item in value:
                self._stamp(item, path, log_ns)
        elif path:
            self._stamp(getattr(value, path[0]), path[1:], log_ns)
        else:
            new_ns = self.stamp_ns(header_stamp_ns(value), log_ns)
            value.stamp.sec, value.stamp.nanosec = new_ns // 10**9, new_ns % 10**9


def _store(topic: Topic) -> Typestore:
    return store_of(topic.message_type, topic.definition, topic.definition_format)


def header_places(topic: Topic) -> tuple[str, ...]:
    """The headers in a message type, as dotted field names. A field that is a list stands for its items."""
    return _places(topic.message_type, topic.definition, topic.definition_format)


@lru_cache(maxsize=256)
def _places(message_type: str, definition: str, definition_format: str) -> tuple[str, ...]:
    fielddefs = store_of(message_type, definition, definition_format).fielddefs

    def walk(kind: str, prefix: str, depth: int) -> list[str]:
        found = []
        for name, description in fielddefs[kind][1] if kind in fielddefs and depth < 16 else ():
            inner = message_type_of(description)
            if inner == HEADER:
                found.append(f"{prefix}{name}")
            elif inner:
                found += walk(inner, f"{prefix}{name}.", depth + 1)
        return found

    return tuple(walk(message_type, "", 0))


def message_type_of(description: Any) -> str:
    """Message type of a field in a typestore, or of its items if it is a list; empty for plain values."""
    kind, value = description
    if kind == Nodetype.NAME:
        return str(value)
    return message_type_of(value[0]) if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) else ""


def _begins_with_header(topic: Topic) -> bool:
    fields = _store(topic).fielddefs[topic.message_type][1]
    return bool(fields) and fields[0][0] == "header"

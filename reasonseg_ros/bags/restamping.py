"""Gives recorded messages new header stamps, with the same distances as the recorded ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from reasonseg_ros.bags.definitions import decoded, message_type_of, same_fields, store_of
from reasonseg_ros.bags.records import Record, Topic
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.stamps import header_stamp_ns, raw_stamp_ns, restamped

HEADER = "std_msgs/msg/Header"
CLOCK = "rosgraph_msgs/msg/Clock"
"""Simulated time. Its bytes are those of a header's stamp."""
LATEST_NS = 2**31 * 10**9 - 1
"""The latest stamp: seconds are int32."""
SAME_CLOCK_NS = 10 * 10**9
"""Messages are from the same clock if their offset to log time changes by no more than this from one to the next."""


@dataclass
class _Clock:
    """A clock of the recording.

    Attributes:
        ahead_ns: last known offset of its stamps to log time. It changes if simulated time is slow, fast or paused.
        begin_ns: the offset that is subtracted from its stamps.
    """

    ahead_ns: int
    begin_ns: int


class Restamping:
    """Maps recorded stamps to new ones.

    Stamps of the recorder's clock keep their distance to log time. Stamps of a device's clock, such as seconds since
    its start or simulated time, begin at the log time of their first message and keep their distances to each other.
    """

    def __init__(self, first_log_ns: int, now_ns: int, rate: float = 1.0) -> None:
        self._first_log_ns, self._now_ns, self._rate = first_log_ns, now_ns, rate
        self._recorders = _Clock(0, 0)
        self._clocks = [self._recorders]

    def stamps_ns(self, headers_ns: Sequence[int], log_ns: int) -> list[int]:
        """The new stamps of a message's headers, in nanoseconds. All are of the clock that the newest is of.

        A header without a stamp (0) gets that of its log time.
        """
        newest_ns = max(headers_ns, default=0)
        begin_ns = self._clock(newest_ns, log_ns).begin_ns if newest_ns else 0
        return [self._new_ns(header_ns - begin_ns if header_ns else log_ns) for header_ns in headers_ns]

    def _new_ns(self, in_log_ns: int) -> int:
        return min(max(self._now_ns + round((in_log_ns - self._first_log_ns) / self._rate), 0), LATEST_NS)

    def _clock(self, header_ns: int, log_ns: int) -> _Clock:
        ahead_ns = header_ns - log_ns
        clock = min(self._clocks, key=lambda known: abs(ahead_ns - known.ahead_ns))
        if abs(ahead_ns - clock.ahead_ns) > SAME_CLOCK_NS:
            clock = _Clock(ahead_ns, ahead_ns)
            self._clocks.append(clock)
        elif clock is not self._recorders:
            clock.ahead_ns = ahead_ns
        return clock

    def data(self, record: Record) -> bytes:
        """The record's bytes with new stamps in all headers, also inside lists and other messages, and a new `/clock`.

        Raises InvalidInput for a damaged message, and for a type that neither the bag nor this package defines.
        """
        if record.topic.message_type not in store_of(record.topic).fielddefs:
            raise InvalidInput(f"the bag does not define {record.topic.message_type}, so its stamps cannot be changed")
        places = header_places(record.topic)
        is_clock = record.topic.message_type == CLOCK
        if not places and not is_clock:
            return record.data
        if is_clock or (places == ("header",) and _begins_with_stamp(record.topic)):
            return restamped(record.data, self.stamps_ns([raw_stamp_ns(record.data)], record.stamp_ns)[0])
        store, kind = store_of(record.topic), record.topic.message_type
        message = decoded(record)
        heads = [head for place in places for head in _headers(message, place.split("."))]
        new_ns = self.stamps_ns([header_stamp_ns(head) for head in heads], record.stamp_ns)
        for head, stamp_ns in zip(heads, new_ns, strict=True):
            head.stamp.sec, head.stamp.nanosec = stamp_ns // 10**9, stamp_ns % 10**9
        return bytes(store.serialize_cdr(message, kind))


def _headers(value: Any, path: list[str]) -> list[Any]:
    """The headers at a place of a decoded message; of each item if a field is a list."""
    if isinstance(value, list | tuple):
        return [head for item in value for head in _headers(item, path)]
    return _headers(getattr(value, path[0]), path[1:]) if path else [value]


@lru_cache(maxsize=256)
def header_places(topic: Topic) -> tuple[str, ...]:
    """The headers in a message type, as dotted field names. A field that is a list stands for its items."""
    fielddefs = store_of(topic).fielddefs

    def walk(kind: str, prefix: str, depth: int) -> list[str]:
        found = []
        for name, description in fielddefs[kind][1] if kind in fielddefs and depth < 16 else ():
            inner = message_type_of(description)
            if inner == HEADER:
                found.append(f"{prefix}{name}")
            elif inner:
                found += walk(inner, f"{prefix}{name}.", depth + 1)
        return found

    return tuple(walk(topic.message_type, "", 0))


def _begins_with_stamp(topic: Topic) -> bool:
    """Whether its first field is a header as ROS 2 defines it, which begins with the stamp."""
    store = store_of(topic)
    fields = store.fielddefs[topic.message_type][1]
    return bool(fields) and message_type_of(fields[0][1]) == HEADER and same_fields(store, HEADER)

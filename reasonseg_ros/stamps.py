"""Header stamps of messages, from ROS or from a bag, as messages and as serialised bytes."""

from __future__ import annotations

import struct
from typing import Any

from reasonseg_ros.errors import InvalidInput


def header_stamp_ns(head: Any) -> int:
    """Stamp of a Header message, from ROS or from a bag, in nanoseconds."""
    return int(head.stamp.sec) * 10**9 + int(head.stamp.nanosec)


def raw_stamp_ns(data: bytes) -> int:
    """Header stamp in the serialised bytes of a message that begins with a header. Raises InvalidInput.

    CDR: 4 bytes of encapsulation, whose second says little-endian, then seconds and nanoseconds of 4 bytes each.
    """
    seconds, nanoseconds = struct.unpack_from(_stamp_layout(data), data, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def restamped(data: bytes, stamp_ns: int) -> bytes:
    """Those bytes with another header stamp. Raises InvalidInput."""
    stamp = struct.pack(_stamp_layout(data), stamp_ns // 10**9, stamp_ns % 10**9)
    return data[:4] + stamp + data[12:]


def _stamp_layout(data: bytes) -> str:
    if len(data) < 12:
        raise InvalidInput(f"serialised message of {len(data)} bytes; one with a header has 12 at least")
    return "<iI" if data[1] & 1 else ">iI"

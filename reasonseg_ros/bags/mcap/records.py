"""Records of MCAP in bytes that are unpacked: their types and places, and the messages in them by time."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

import numpy as np
from mcap.opcode import Opcode

from reasonseg_ros.errors import InvalidInput

RECORD_HEAD = struct.Struct("<BQ")
"""Type of a record and the length of its content."""
MESSAGE_HEAD = struct.Struct("<HIQQ")
"""Channel, sequence number, log time and time of publishing."""


class MessageTable:
    """Where the messages in unpacked records lie. A message costs 26 bytes of memory."""

    def __init__(self, data: bytes) -> None:
        """Raises InvalidInput if a length is wrong."""
        self.stamps_ns, self._starts, self._ends, self._channels = array("Q"), array("Q"), array("Q"), array("H")
        for channel_id, stamp_ns, start, end in messages_in(data):
            self.stamps_ns.append(stamp_ns)
            self._starts.append(start)
            self._ends.append(end)
            self._channels.append(channel_id)

    def in_order(self) -> Iterator[tuple[int, int, int, int]]:
        """Channel, log time, start and end of each message, by time; of equal times as they were written."""
        for index in np.argsort(np.frombuffer(self.stamps_ns, np.uint64), kind="stable"):
            yield self._channels[index], self.stamps_ns[index], self._starts[index], self._ends[index]


def records_in(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type of each record and where its content begins and ends. Raises InvalidInput if a length is wrong."""
    offset = 0
    while offset < len(data):
        if offset + RECORD_HEAD.size > len(data):
            raise InvalidInput("a record breaks off")
        opcode, length = RECORD_HEAD.unpack_from(data, offset)
        start = offset + RECORD_HEAD.size
        if start + length > len(data):
            raise InvalidInput(f"a record of {length} bytes in the {len(data) - start} that are left")
        yield opcode, start, start + length
        offset = start + length


def messages_in(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Channel, log time, and start and end of the content of each message. Raises InvalidInput if a length is wrong."""
    for opcode, start, end in records_in(data):
        if opcode == Opcode.MESSAGE:
            if end - start < MESSAGE_HEAD.size:
                raise InvalidInput(f"a message record of {end - start} bytes")
            channel_id, _, stamp_ns, _ = MESSAGE_HEAD.unpack_from(data, start)
            yield channel_id, stamp_ns, start + MESSAGE_HEAD.size, end

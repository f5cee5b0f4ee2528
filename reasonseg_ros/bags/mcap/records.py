"""Finds the records in unpacked MCAP data, and sorts the messages among them by time."""

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
"""Channel, sequence number, log time and publish time."""


class MessageTable:
    """The offsets of the messages in unpacked records. It takes 26 bytes of memory per message."""

    def __init__(self, data: bytes) -> None:
        """Raises InvalidInput if a length is wrong."""
        self.stamps_ns, self._starts, self._ends, self._channels = array("Q"), array("Q"), array("Q"), array("H")
        for channel_id, stamp_ns, start, end in messages_in(data):
            self.stamps_ns.append(stamp_ns)
            self._starts.append(start)
            self._ends.append(end)
            self._channels.append(channel_id)

    def in_order(self) -> Iterator[tuple[int, int, int, int]]:
        """Channel, log time, start and end of each message, by time. Messages of equal time keep their order."""
        for index in np.argsort(np.frombuffer(self.stamps_ns, np.uint64), kind="stable"):
            yield self._channels[index], self.stamps_ns[index], self._starts[index], self._ends[index]


def records_in(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type of each record, start and end of its content. Raises InvalidInput if a length is wrong."""
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

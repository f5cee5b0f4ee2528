"""The parts of an MCAP file that are unpacked at once, and a cache of the newest ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

CACHE_BYTES = 2**30
"""Unpacked chunks whose messages are due, and that are kept. Of a file in order these are one or two."""


@dataclass(eq=False)
class FilePiece:
    """A chunk, or neighbouring messages outside of chunks: its first log time and where its content lies."""

    start_ns: int
    offset: int
    data_offset: int
    data_length: int
    compression: str = ""
    says_bytes: int = 0
    crc: int = 0

    @property
    def is_loose(self) -> bool:
        """Whether it is of messages outside of chunks: their headers are its content."""
        return self.offset == self.data_offset


class PieceCache:
    """The newest unpacked pieces of a file that is being read. `read` unpacks one, or raises InvalidInput."""

    def __init__(self, read: Callable[[FilePiece], bytes]) -> None:
        self._read = read
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, piece: FilePiece) -> bytes:
        """Raises InvalidInput if the piece is damaged."""
        if piece.offset not in self._kept:
            data = self._read(piece)
            self._kept[piece.offset] = data
            self._bytes += len(data)
            while self._bytes > CACHE_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(piece.offset)
        return self._kept[piece.offset]

    def drop(self, piece: FilePiece) -> None:
        self._bytes -= len(self._kept.pop(piece.offset, b""))

"""The pieces in which an MCAP file is unpacked, and a cache of the newest ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

CACHE_BYTES = 2**30
"""Maximum size of all cached chunks. For a file in the order of time only one or two are needed."""


@dataclass(eq=False)
class FilePiece:
    """A chunk, or consecutive messages outside of chunks: its first log time and the place of its content."""

    start_ns: int
    offset: int
    data_offset: int
    data_length: int
    compression: str = ""
    says_bytes: int = 0
    crc: int = 0

    @property
    def is_loose(self) -> bool:
        """Whether it holds messages outside of chunks. Such a piece has no chunk header."""
        return self.offset == self.data_offset


class PieceCache:
    """Caches the newest unpacked pieces of a file. `read` unpacks one, or raises InvalidInput."""

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

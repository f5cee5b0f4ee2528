"""The last questions with their answers, images and corrections. Number and memory are bounded."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reasonseg_ros.console.image_cache import Shot
from reasonseg_ros.types import BoolMask

MOST_PIECES = 200
"""Maximum masks of one entry: its regions and those made by prompts."""


@dataclass(eq=False)
class Exchange:
    """One question and its answer. Only the loop's thread changes it.

    Attributes:
        asked_s: time of the question, in seconds since the epoch.
        answer: the Segmentation message; None while there is none.
        error: why there is no answer, if no Segmentation message says so.
        shot: the image that the masks belong to; None if it is not cached.
        pieces: masks, bool [H, W], by number from 1: first the answer's regions, then those made by prompts.
        jpeg, thumbnail: of that image; empty without one.
        mark: `right`, `wrong`, `nothing` or empty.
        saved: name in the truth bag, or empty.
    """

    number: int
    query_id: str
    question: str
    mode: str
    asked_s: float = field(default_factory=time.time)
    answer: Any = None
    error: str = ""
    thought: str = ""
    shot: Shot | None = None
    frame_id: str = ""
    size_wh: tuple[int, int] = (0, 0)
    pieces: dict[int, BoolMask] = field(default_factory=dict)
    jpeg: bytes = b""
    thumbnail: bytes = b""
    mark: str = ""
    saved: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the node still has to answer."""
        return self.answer is None and not self.error

    @property
    def size_bytes(self) -> int:
        masks = sum(mask.size for mask in self.pieces.values())
        return masks + len(self.jpeg) + len(self.thumbnail) + (self.shot.size_bytes if self.shot else 0)

    def add_piece(self, mask: BoolMask) -> int:
        """Add a mask and return its number."""
        number = 1 + max(self.pieces, default=0)
        self.pieces[number] = mask
        return number


class History:
    """The newest entries, by number. Calls `on_drop` with the number of each dropped one. For the loop's thread."""

    def __init__(self, most: int, most_bytes: float, on_drop: Callable[[int], None]) -> None:
        self.entries: dict[int, Exchange] = {}
        self._most = most
        self._most_bytes = most_bytes
        self._on_drop = on_drop
        self._numbers = itertools.count(1)

    def new(self, query_id: str, question: str, mode: str) -> Exchange:
        entry = Exchange(next(self._numbers), query_id, question, mode)
        self.entries[entry.number] = entry
        self.trim()
        return entry

    def of_query(self, query_id: str) -> Exchange | None:
        """The newest entry of a question."""
        return next((one for one in reversed(self.entries.values()) if one.query_id == query_id), None)

    def trim(self) -> None:
        """Drop the oldest entries until both bounds hold. Open entries and the newest one stay."""
        size = sum(entry.size_bytes for entry in self.entries.values())
        for entry in list(self.entries.values())[:-1]:
            if len(self.entries) <= self._most and size <= self._most_bytes:
                break
            if not entry.is_open:
                size -= entry.size_bytes
                del self.entries[entry.number]
                self._on_drop(entry.number)

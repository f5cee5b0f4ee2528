"""The memories of SAM2's tracker in two ring buffers on the device, whose size does not depend on time.

Column 0 of a target's row is the prompted frame; the others are a ring of the frames before the current one. The last
row moves to the place of a removed target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.engine.port import Value

EMPTY = -1
PROMPTED = 0


class MemoryBank:
    """Memories of up to `slots` frames and pointers of up to `pointers` frames for each of N targets.

    `zeros(shape, dtype)` allocates a value on the device. The caller counts frames upwards.
    """

    def __init__(self, slots: int, pointers: int, zeros: Callable[[tuple[int, ...], str], Value]) -> None:
        self.count = 0
        self._zeros = zeros
        self._features = _Ring(slots)
        self._pointers = _Ring(pointers)

    def add(self, features: Value, pointers: Value, frame: int) -> None:
        """Append a row for each target prompted in `frame`: features [n, h*h, D], pointers [n, C]."""
        rows = range(self.count, self.count + len(features))
        self.count += len(features)
        for ring, values in ((self._features, features), (self._pointers, pointers)):
            ring.grow(self.count, values, self._zeros)
        self.prompt(rows, features, pointers, frame)

    def prompt(self, rows: Sequence[int], features: Value, pointers: Value, frame: int) -> None:
        """Replace the prompts of the targets in `rows`. Their memories of this frame are dropped."""
        for ring, values in ((self._features, features), (self._pointers, pointers)):
            for row, value in zip(rows, values, strict=True):
                ring.made[row][ring.made[row] == frame] = EMPTY
                ring.write(row, PROMPTED, value, frame)

    def remember(self, features: Value, pointers: Value, frame: int) -> None:
        """Add `frame` for every target, replacing the oldest."""
        for ring, values in ((self._features, features), (self._pointers, pointers)):
            column = 1 + frame % (ring.size - 1)
            ring.values[: self.count, column] = values
            ring.made[: self.count, column] = frame

    def remove(self, row: int) -> None:
        """Forget a target; the last row takes its place."""
        self.count -= 1
        for ring in (self._features, self._pointers):
            ring.values[row] = ring.values[self.count]
            ring.made[row] = ring.made[self.count]
            ring.made[self.count] = EMPTY

    def inputs(self, frame: int) -> dict[str, Any]:
        """The input of memory attention for all targets in `frame` (`engine.manifest` has shapes and meanings)."""
        features, pointers = self._features, self._pointers
        ago = features.ago(self.count, frame)
        # The temporal encodings of 1, 2, ... frames ago come first, that of the prompted frame last.
        slots = np.where(ago == EMPTY, EMPTY, ago - 1)
        slots[:, PROMPTED] = features.size - 1
        return {
            "mem_feat": features.values[: self.count],
            "mem_slot": slots.astype(np.int32),
            "obj_ptr": pointers.values[: self.count],
            "ptr_dt": pointers.ago(self.count, frame).astype(np.float32),
        }


class _Ring:
    """`values` [rows, size, ...] on the device, and the frame in which each was `made`, EMPTY if there is none."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: Value = None
        self.made: NDArray[np.int64] = np.full((0, size), EMPTY, np.int64)

    def grow(self, rows: int, like: Value, zeros: Callable[[tuple[int, ...], str], Value]) -> None:
        """Make room for `rows` rows of values like `like` [n, ...]."""
        room = len(self.made)
        if rows <= room:
            return
        new_room = max(rows, 2 * room)
        values = zeros((new_room, self.size, *like.shape[1:]), str(like.dtype).removeprefix("torch."))
        if room:
            values[:room] = self.values
        self.values = values
        self.made = np.concatenate([self.made, np.full((new_room - room, self.size), EMPTY, np.int64)])

    def write(self, row: int, column: int, value: Value, frame: int) -> None:
        self.values[row, column] = value
        self.made[row, column] = frame

    def ago(self, rows: int, frame: int) -> NDArray[np.int64]:
        """Age of each value in frames, int64 [rows, size]; EMPTY if there is none or it is too old."""
        made = self.made[:rows]
        ago = np.where(made == EMPTY, EMPTY, frame - made)
        recent = ago[:, 1:]
        recent[(recent <= 0) | (recent >= self.size)] = EMPTY  # a repeated frame is not its own memory
        return ago

"""Which images a late answer is propagated through, if there is no time for all of them.

A target is lost when it moves far in one step. So the steps are evenly spaced in the change between images, not in
time: a target that moves during one of five seconds gets most of the steps in that second.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.stream.frame_buffer import Arrival, thinned
from reasonseg_ros.live.stream.scene_change import thumbnail
from reasonseg_ros.types import FloatArray, Frame

MOST_LOOKS = 12
"""Maximum number of images that are decoded to measure the change."""
EVEN_SHARE = 0.1
"""Share of the progress that counts by time alone, so that a static scene gets evenly spaced steps."""


class StepPlan:
    """Chooses the steps of one late answer. Each image is looked at once."""

    def __init__(self) -> None:
        self._seen: dict[int, FloatArray | None] = {}

    def next(self, frame: Frame, later: Sequence[Arrival], affordable: int) -> int:
        """Index in `later` of the next image, of `affordable` steps that are left to the newest one."""
        if len(later) <= affordable:
            return 0
        if affordable <= 1:
            return len(later) - 1
        places = [int(place) for place in thinned(range(len(later)), MOST_LOOKS)]
        looks = [(place, self._look(later[place])) for place in places]
        known = [(place, look) for place, look in looks if look is not None]
        if not known:
            return len(later) - 1
        changes = changes_between([thumbnail(frame.rgb), *(look for _, look in known)])
        images = np.diff([-1, *(place for place, _ in known)])
        return known[first_step(changes, images, affordable)][0]

    def _look(self, arrival: Arrival) -> FloatArray | None:
        if arrival.stamp_ns not in self._seen:
            try:
                self._seen[arrival.stamp_ns] = thumbnail(arrival.load().rgb)
            except InvalidInput:  # counted where it arrived
                self._seen[arrival.stamp_ns] = None
        return self._seen[arrival.stamp_ns]


def changes_between(thumbnails: Sequence[FloatArray]) -> FloatArray:
    """Mean squared difference of each thumbnail and the one before, float64 [N - 1]."""
    return np.array([np.square(after - before).mean() for before, after in pairwise(thumbnails)])


def first_step(changes: FloatArray, images: NDArray[np.int64], steps: int) -> int:
    """Index of the last move in the first of `steps` steps, so that each step covers the same change.

    `changes` [N] are the changes of the moves between decoded images, and `images` [N] the images that each move
    passes.
    """
    even = images / images.sum()
    total = changes.sum()
    shares = (1 - EVEN_SHARE) * changes / total + EVEN_SHARE * even if total > 0 else even
    return int(np.abs(np.cumsum(shares) - 1 / steps).argmin())

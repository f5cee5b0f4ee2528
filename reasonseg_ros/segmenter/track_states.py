"""The state of each tracked target: visible or not, and since when. Also assigns pixels that several masks claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from reasonseg_ros.segmenter.port import Track
from reasonseg_ros.types import BoolMask, FloatArray

NEW, TRACKED, OCCLUDED, LOST = "new", "tracked", "occluded", "lost"
"""A new target was just prompted. A target that is not visible is occluded, later lost; both may return."""


@dataclass(frozen=True)
class TrackState:
    """State of one target. Stamps may run backwards, as for a video that is tracked towards its beginning."""

    track_id: int
    state: str
    since_ns: int
    seen_ns: int

    def after(self, is_seen: bool, stamp_ns: int, lost_after_s: float) -> TrackState:
        """The state in the frame of `stamp_ns`."""
        seen_ns = stamp_ns if is_seen else self.seen_ns
        is_lost = abs(stamp_ns - seen_ns) > lost_after_s * 1e9
        state = TRACKED if is_seen else LOST if is_lost else OCCLUDED
        return TrackState(self.track_id, state, self.since_ns if state == self.state else stamp_ns, seen_ns)

    def track(self, mask: BoolMask, score: float) -> Track:
        """This target in the frame of this state; without a pixel it is not visible, whatever its state."""
        track = Track(self.track_id, mask, score, self.state, self.since_ns, self.seen_ns)
        return track if mask.any() else unseen(track)


def unseen(track: Track) -> Track:
    """A track whose mask is empty: `occluded`, or still `lost`, with a score of 0."""
    return replace(track, score=0.0, state=LOST if track.state == LOST else OCCLUDED)


def masks_from_logits(logits: Sequence[FloatArray | None], size_wh: tuple[int, int], disjoint: bool) -> list[BoolMask]:
    """Masks of the image's size from logits [h, w] of a smaller one; None gives an empty mask.

    With `disjoint`, a pixel that several masks claim belongs to the one with the highest logit.
    """
    masks: list[BoolMask] = []
    highest: FloatArray | None = None
    for values in logits:
        if values is None:
            masks.append(np.zeros(size_wh[::-1], bool))
            continue
        large = cv2.resize(np.ascontiguousarray(values, np.float32), size_wh, interpolation=cv2.INTER_LINEAR)
        mask = large > 0
        if disjoint and highest is not None:
            mask &= large > highest
            for other in masks:
                other &= ~mask
        if disjoint:
            highest = large if highest is None else np.maximum(highest, large)
        masks.append(mask)
    return masks

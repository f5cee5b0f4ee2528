"""Carries a late answer forward: from the frame that was reasoned on, through those since then, to the newest one.

A reasoner takes seconds. Its boxes fit the frame that it saw, and by now the camera or the target may have moved. So
the targets are segmented on that frame and followed from there; where time is short, frames in between are left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.live.requests import lost
from reasonseg_ros.segmenter.port import Segmenter, Track, Tracker
from reasonseg_ros.segmenter.regions import followed
from reasonseg_ros.types import Frame, Segmentation

RESTARTED = "the stream of images began again meanwhile"

_SMOOTHING = 0.3
"""Weight of the newest frame in the mean time a frame takes."""


@dataclass(frozen=True, eq=False)
class Carried:
    """A segmentation on the newest frame; its tracker, to go on from there; how many frames were stepped through."""

    segmentation: Segmentation
    tracker: Tracker | None
    frames: int
    left_out: int


class Carrier:
    """Carries answers within `budget_s`, the time that it may take to catch up. Learns how long a frame takes.

    One frame is always done, so it takes longer than `budget_s` where one frame does.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        make_tracker: Callable[[], Tracker],
        budget_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.segmenter = segmenter
        self.make_tracker = make_tracker
        self.budget_s = budget_s
        self._clock = clock
        self._frame_s = 0.0

    def carry(
        self,
        segmentation: Segmentation,
        buffer: FrameBuffer,
        cancelled: Callable[[], bool] = lambda: False,
        beginnings: int | None = None,
    ) -> Carried:
        """`segmentation` on the newest frame of `buffer`; as it is where nothing came since, or it has no regions.

        `beginnings` are the buffer's from before the frame was taken from it; without them, those of now. Its status is
        LOST where none of its targets is seen in the newest frame, or the stream began again.
        """
        reasoned_on = segmentation.frame
        beginnings = buffer.beginnings if beginnings is None else beginnings
        if segmentation.regions and buffer.beginnings != beginnings:
            return Carried(lost(segmentation, RESTARTED), None, 0, 0)
        if not segmentation.regions or not buffer.after(reasoned_on.stamp_ns):
            return Carried(segmentation, None, 0, 0)
        start_s = self._clock()
        tracker, tracks = self.begin(segmentation)
        guess_s = self._clock() - start_s

        frame, done, left_out = reasoned_on, 0, 0
        damaged: list[Arrival] = []
        while not cancelled():
            later = [arrival for arrival in buffer.after(frame.stamp_ns) if arrival not in damaged]
            if buffer.beginnings != beginnings:
                return self._lost(segmentation, frame, start_s, RESTARTED)
            begin_s = self._clock()
            left_s, frame_s = start_s + self.budget_s - begin_s, self._frame_s or guess_s
            if not later or (done and left_s < frame_s):
                break
            index = stride(len(later), left_s, frame_s) - 1
            try:
                loaded = later[index].load()
            except InvalidInput:  # counted where it arrived; one beside it serves as well
                damaged.append(later[index])
                continue
            if loaded.size_wh != frame.size_wh:
                return self._lost(segmentation, loaded, start_s, "the camera changed its image size meanwhile")
            frame = loaded
            tracks = tracker.step(self.segmenter.encode(frame.rgb), frame.stamp_ns)
            self._took(self._clock() - begin_s)
            done, left_out = done + 1, left_out + index
        if not any(track.mask.any() for track in tracks):
            return self._lost(segmentation, frame, start_s, "the target was lost on the way to the newest image")
        regions = tuple(followed(region, track) for region, track in zip(segmentation.regions, tracks, strict=True))
        carried = replace(
            segmentation, frame=frame, regions=regions, reasoned_stamp_ns=reasoned_on.stamp_ns,
            seconds=self._seconds(segmentation, start_s),
        )  # fmt: skip
        return Carried(carried, tracker, done, left_out)

    def begin(self, segmentation: Segmentation) -> tuple[Tracker, list[Track]]:
        """A tracker that has seen the regions of `segmentation` on its frame."""
        tracker = self.make_tracker()
        features = self.segmenter.encode(segmentation.frame.rgb)
        groundings = [region.grounding for region in segmentation.regions]
        return tracker, tracker.add(features, groundings, segmentation.frame.stamp_ns)

    def _lost(self, segmentation: Segmentation, frame: Frame, start_s: float, reason: str) -> Carried:
        told = replace(
            lost(segmentation, reason), frame=frame, reasoned_stamp_ns=segmentation.frame.stamp_ns,
            seconds=self._seconds(segmentation, start_s),
        )  # fmt: skip
        return Carried(told, None, 0, 0)

    def _seconds(self, segmentation: Segmentation, start_s: float) -> dict[str, float]:
        return {**segmentation.seconds, "catching_up": self._clock() - start_s}

    def _took(self, seconds: float) -> None:
        self._frame_s = (1 - _SMOOTHING) * self._frame_s + _SMOOTHING * seconds if self._frame_s else seconds


def stride(waiting: int, left_s: float, frame_s: float) -> int:
    """Of so many images that wait, the how manieth is next, so that even steps reach the last one in the time left.

    Even steps are the smallest ones, and the way that a target goes in one step is what loses it.
    """
    affordable = int(left_s / frame_s) if frame_s else waiting
    return math.ceil(waiting / max(1, affordable))

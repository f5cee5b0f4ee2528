"""Carries a late answer forward: from the frame that was reasoned on, through those since then, to the newest one.

A reasoner takes seconds. Its boxes fit the frame that it saw, and by now the camera or the target may have moved. So
the targets are segmented on that frame and followed from there; where time is short, frames in between are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.frame_buffer import FrameBuffer, thinned
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
        later = buffer.after(reasoned_on.stamp_ns)
        if not segmentation.regions or not later:
            return Carried(segmentation, None, 0, 0)
        start_s = self._clock()
        tracker, tracks = self.begin(segmentation)
        self._took(self._clock() - start_s)

        frame, done, seen = reasoned_on, 0, 0
        while later:
            left_s = start_s + self.budget_s - self._clock()
            for arrival in thinned(later, max(1, int(left_s / self._frame_s) if self._frame_s else len(later))):
                if cancelled():
                    break
                begin_s = self._clock()
                try:
                    loaded = arrival.load()
                except InvalidInput:
                    continue  # counted where it arrived; the next one serves as well
                if loaded.size_wh != frame.size_wh:
                    return self._lost(segmentation, loaded, start_s, "the camera changed its image size meanwhile")
                frame = loaded
                tracks = tracker.step(self.segmenter.encode(frame.rgb), frame.stamp_ns)
                self._took(self._clock() - begin_s)
                done += 1
            seen += len(later)
            if buffer.beginnings != beginnings:
                return self._lost(segmentation, frame, start_s, RESTARTED)
            is_over = cancelled() or self._clock() - start_s >= self.budget_s
            later = [] if is_over else buffer.after(later[-1].stamp_ns)
        if not any(track.mask.any() for track in tracks):
            return self._lost(segmentation, frame, start_s, "the target was lost on the way to the newest image")
        regions = tuple(followed(region, track) for region, track in zip(segmentation.regions, tracks, strict=True))
        carried = replace(
            segmentation, frame=frame, regions=regions, reasoned_stamp_ns=reasoned_on.stamp_ns,
            seconds=self._seconds(segmentation, start_s),
        )  # fmt: skip
        return Carried(carried, tracker, done, seen - done)

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

"""Propagates a late answer: from the frame that was reasoned on, through the frames after it, to the newest one.

A reasoner takes seconds. Its boxes fit the frame that it saw, but the camera or the target may have moved since. The
masks on that frame therefore start a tracker, which steps through the later frames. If time is short, frames in between
are skipped (`pacing`). More frames arrive during the last step, so the masks finally move to the newest frame by
optical flow (`motion`), which takes milliseconds.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import mask_box
from reasonseg_ros.live.following.motion import moved_mask
from reasonseg_ros.live.following.pacing import StepPlan
from reasonseg_ros.live.questions import lost, other_camera
from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.reasoner.call import never
from reasonseg_ros.segmenter.numbered import NumberedTracker
from reasonseg_ros.segmenter.port import Segmenter, Track, Tracker
from reasonseg_ros.segmenter.regions import tracked
from reasonseg_ros.types import BoolMask, Frame, Region, RgbImage, Segmentation

RESTARTED = "the stream of images began again meanwhile"

MOST_MOVES = 3
"""Maximum number of further moves, each to a frame that arrived during the last one."""
_SMOOTHING = 0.3
"""Weight of the newest frame in the mean time a frame takes."""


@dataclass(frozen=True, eq=False)
class Propagated:
    """A segmentation on the newest frame.

    Attributes:
        tracker: has tracked the targets up to that frame or shortly before; None if no frame was stepped through.
        frames: number of frames that the tracker stepped through.
        left_out: number of skipped frames.
    """

    segmentation: Segmentation
    tracker: Tracker | None = None
    frames: int = 0
    left_out: int = 0


class Propagator:
    """Propagates answers within a time budget. Learns how long a frame takes.

    At least one frame is stepped through, so one that takes longer than the budget exceeds it.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        make_tracker: Callable[[], Tracker],
        clock: Callable[[], float] = time.perf_counter,
        move: Callable[[RgbImage, RgbImage, BoolMask], BoolMask | None] = moved_mask,
    ) -> None:
        """`move` moves a mask from one image to a slightly newer one; None if it cannot."""
        self.segmenter = segmenter
        self.make_tracker = make_tracker
        self._move = move
        self._clock = clock
        self._frame_s = 0.0
        self._track_ids = itertools.count(1)

    def propagate(
        self,
        segmentation: Segmentation,
        buffer: FrameBuffer,
        budget_s: float,
        cancelled: Callable[[], bool] = never,
        restarts: int | None = None,
    ) -> Propagated:
        """`segmentation` on the newest frame of `buffer`; unchanged if there is no newer frame, or no region.

        `restarts` is the buffer's count from before the frame was taken from it; by default the current one. The status
        becomes LOST if no target is visible in the newest frame, or the stream restarted.
        """
        reasoned_on = segmentation.frame
        restarts = buffer.restarts if restarts is None else restarts
        if segmentation.regions and buffer.restarts != restarts:
            return Propagated(lost(segmentation, RESTARTED))
        if not segmentation.regions or not buffer.after(reasoned_on.stamp_ns):
            return Propagated(segmentation)
        start_s = self._clock()
        tracker, tracks = self.begin(segmentation)
        guess_s = self._clock() - start_s

        frame, done, left_out, plan = reasoned_on, 0, 0, StepPlan()
        damaged: list[Arrival] = []
        while not cancelled():
            later = [arrival for arrival in buffer.after(frame.stamp_ns) if arrival not in damaged]
            if buffer.restarts != restarts:
                return self._lost(segmentation, frame, start_s, RESTARTED)
            left_s, frame_s = start_s + budget_s - self._clock(), self._frame_s or guess_s
            if not later or (done and left_s < frame_s):
                break
            index = plan.next(frame, later, affordable_steps(left_s, frame_s))
            try:
                loaded = later[index].load()
            except InvalidInput:  # counted on arrival; a neighbour serves as well
                damaged.append(later[index])
                continue
            if reason := other_camera(frame, loaded):
                return self._lost(segmentation, loaded, start_s, reason)
            frame, begin_s = loaded, self._clock()
            tracks = tracker.step(self.segmenter.encode(frame.rgb), frame.stamp_ns)
            self._learn(self._clock() - begin_s)
            done, left_out = done + 1, left_out + index
        count = len(segmentation.regions)
        if not any(track.mask.any() for track in tracks[:count]):
            return self._lost(segmentation, frame, start_s, "the target was lost on the way to the newest image")
        regions = tuple(tracked(region, track) for region, track in zip(_carried(segmentation), tracks, strict=True))
        if buffer.restarts == restarts:
            frame, regions = self._on_newest(frame, regions, buffer)
        alternative = segmentation.alternative and tuple(region for region in regions[count:] if region.mask.any())
        propagated = replace(
            segmentation, frame=frame, regions=regions[:count], reasoned_stamp_ns=reasoned_on.stamp_ns,
            seconds=self._seconds(segmentation, start_s),
            alternative=None if segmentation.alternative and not alternative else alternative,
        )  # fmt: skip
        return Propagated(propagated, tracker, done, left_out)

    def _on_newest(
        self, frame: Frame, regions: tuple[Region, ...], buffer: FrameBuffer
    ) -> tuple[Frame, tuple[Region, ...]]:
        """Frame and regions after the moves to the newest frame, which may change meanwhile.

        They stay on the last frame to which every region could be moved reliably.
        """
        for _ in range(MOST_MOVES):
            later = buffer.after(frame.stamp_ns)
            if not later:
                break
            try:
                newest = later[-1].load()
            except InvalidInput:  # counted where it arrived
                break
            moved = None if other_camera(frame, newest) else self._moved(frame, newest, regions)
            if moved is None:
                break
            frame, regions = newest, moved
        return frame, regions

    def _moved(self, before: Frame, after: Frame, regions: tuple[Region, ...]) -> tuple[Region, ...] | None:
        """None if one of the regions cannot be moved reliably."""
        moved = []
        for region in regions:
            mask = self._move(before.rgb, after.rgb, region.mask) if region.mask.any() else region.mask
            if mask is None:
                return None
            box_xyxy = mask_box(mask)
            moved.append(replace(region, mask=mask, box_xyxy=region.box_xyxy if box_xyxy is None else box_xyxy))
        return tuple(moved)

    def begin(self, segmentation: Segmentation) -> tuple[Tracker, list[Track]]:
        """A tracker that starts from the masks of `segmentation` on its frame. No two answers share a track id."""
        tracker = NumberedTracker(self.make_tracker(), self._track_ids)
        features = self.segmenter.encode(segmentation.frame.rgb)
        regions = _carried(segmentation)
        groundings = [region.grounding for region in regions]
        masks = [region.mask for region in regions]
        return tracker, tracker.add(features, groundings, segmentation.frame.stamp_ns, masks)

    def _lost(self, segmentation: Segmentation, frame: Frame, start_s: float, reason: str) -> Propagated:
        lost_there = replace(
            lost(segmentation, reason), frame=frame, reasoned_stamp_ns=segmentation.frame.stamp_ns,
            seconds=self._seconds(segmentation, start_s),
        )  # fmt: skip
        return Propagated(lost_there)

    def _seconds(self, segmentation: Segmentation, start_s: float) -> dict[str, float]:
        return {**segmentation.seconds, "catching_up": self._clock() - start_s}

    def _learn(self, seconds: float) -> None:
        self._frame_s = (1 - _SMOOTHING) * self._frame_s + _SMOOTHING * seconds if self._frame_s else seconds


def _carried(segmentation: Segmentation) -> tuple[Region, ...]:
    """The regions of the answer, then those of its second-best candidate."""
    return (*segmentation.regions, *(segmentation.alternative or ()))


def affordable_steps(left_s: float, frame_s: float) -> int:
    """How many frames of `frame_s` each fit into the remaining time; at least one."""
    return max(1, int(left_s / frame_s)) if frame_s else sys.maxsize

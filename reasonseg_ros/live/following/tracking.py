"""Tracks the targets of answers from image to image, at the camera's rate or as fast as the machine allows.

Each answer has a separate tracker, because two questions may be about the same thing. All share an image's features.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.live.questions import lost, other_camera
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.vitals import Vitals
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.segmenter.port import Features, Segmenter, Tracker
from reasonseg_ros.segmenter.regions import tracked
from reasonseg_ros.types import Frame, Segmentation, Status

_Key = TypeVar("_Key")


@dataclass(eq=False)
class _Tracked(Generic[_Key]):
    """An answer whose targets are tracked: the last masks, and their tracker."""

    key: _Key
    segmentation: Segmentation
    tracker: Tracker


class TargetTracking(Generic[_Key]):
    """One thread that takes the newest image, steps every tracker, and reports each answer's new masks.

    Args:
        on_masks: called with the key that `track` received and the masks on the newest image; targets that are not
            visible have empty masks. A status other than OK is the last report of a key. LOST: no target has been
            visible for long, the stream restarted, or a step of the tracker failed. FAILED: the model returned numbers
            that are not finite, so asking again does not help.
        max_rate_hz: maximum rate of images; 0 takes every image that the machine can process.

    Attributes:
        vitals: of the thread.
    """

    def __init__(
        self, segmenter: Segmenter, on_masks: Callable[[_Key, Segmentation], None], max_rate_hz: float = 0.0
    ) -> None:
        self.segmenter = segmenter
        self.on_masks = on_masks
        self.max_rate_hz = max_rate_hz
        self.vitals = Vitals()
        self._changed = threading.Condition()
        self._newest: Arrival | None = None
        self._tracked: list[_Tracked[_Key]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reasonseg tracking", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """False if the thread does not end in time."""
        with self._changed:
            self._stopping = True
            self._tracked.clear()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def show(self, arrival: Arrival) -> None:
        """Put the newest image into its slot."""
        with self._changed:
            self._newest = arrival
            if self._tracked:
                self._changed.notify_all()

    def track(self, key: _Key, segmentation: Segmentation, tracker: Tracker) -> None:
        """Track the regions of `segmentation`.

        `tracker` is up to date with its frame. Replaces the earlier answer of `key`.
        """
        with self._changed:
            self._tracked = [item for item in self._tracked if item.key is not key]
            self._tracked.append(_Tracked(key, segmentation, tracker))
            self._changed.notify_all()

    def drop(self, key: _Key) -> bool:
        """Stop tracking `key`. False if it was not tracked."""
        with self._changed:
            before = len(self._tracked)
            self._tracked = [item for item in self._tracked if item.key is not key]
            return len(self._tracked) < before

    def end_all(self, reason: str) -> None:
        """Report every answer as LOST for `reason` and stop tracking all of them."""
        with self._changed:
            items, self._tracked = self._tracked, []
            self._newest = None
        for item in items:
            self.on_masks(item.key, lost(item.segmentation, reason))

    def keys(self) -> list[_Key]:
        with self._changed:
            return [item.key for item in self._tracked]

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            begin_s = time.monotonic()
            self.vitals.begin("tracking")
            try:
                self._step(*taken)
            except InvalidInput:
                pass  # reported and counted where the image arrived
            # No error may end the thread that all answers share.
            except Exception as error:
                self._end(taken[1], error)
            self.vitals.rest()
            if self.max_rate_hz:
                with self._changed:
                    left_s = begin_s + 1 / self.max_rate_hz - time.monotonic()
                    self._changed.wait_for(lambda: self._stopping, max(0.0, left_s))

    def _take(self) -> tuple[Arrival, list[_Tracked[_Key]]] | None:
        with self._changed:
            while not self._stopping:
                if self._newest is not None and self._tracked:
                    arrival, self._newest = self._newest, None
                    return arrival, list(self._tracked)
                self._changed.wait()
            return None

    def _step(self, arrival: Arrival, items: list[_Tracked[_Key]]) -> None:
        # An answer that was already propagated to a newer image waits for the next one.
        items = [item for item in items if item.segmentation.frame.stamp_ns < arrival.stamp_ns]
        if not items:
            return
        frame = arrival.load()
        features = self.segmenter.encode(frame.rgb)
        for item in items:
            self.vitals.go_on()
            try:
                masks = _next(item, frame, features)
            # A failing tracker ends only its answer.
            except Exception as error:
                self._end([item], error)
                continue
            with self._changed:
                if item not in self._tracked:  # dropped in the meantime
                    continue
                item.segmentation = masks
                if masks.status is Status.LOST:
                    self._tracked.remove(item)
            self.on_masks(item.key, masks)

    def _end(self, items: list[_Tracked[_Key]], error: Exception) -> None:
        """Report a model's error for these answers and stop tracking them."""
        with self._changed:
            items = [item for item in items if item in self._tracked]
            self._tracked = [item for item in self._tracked if item not in items]
        for item in items:
            answer = failed(item.segmentation.answer, "tracking", error)
            if isinstance(error, ModelError):
                self.on_masks(item.key, replace(item.segmentation, answer=answer, regions=()))
            else:
                self.on_masks(item.key, lost(item.segmentation, answer.error))


def _next(item: _Tracked[Any], frame: Frame, features: Features) -> Segmentation:
    """The masks of the answer in the next frame, or LOST."""
    last = item.segmentation
    if reason := other_camera(last.frame, frame):
        return replace(lost(last, reason), frame=frame, reasoned_stamp_ns=last.origin_ns)
    start_s = time.perf_counter()
    tracks = item.tracker.step(features, frame.stamp_ns)
    regions = tuple(tracked(region, track) for region, track in zip(last.regions, tracks, strict=True))
    masks = replace(
        last,
        frame=frame,
        regions=regions,
        seconds={"tracking": time.perf_counter() - start_s},
        reasoned_stamp_ns=last.origin_ns,
    )
    is_lost = all(track.state == "lost" for track in tracks)
    return lost(masks, "the target has not been seen for long") if is_lost else masks

"""Follows the targets of answers from image to image, at the camera's rate or as fast as the machine allows.

Each answer has a tracker of its own, as two questions may well be about the same thing; all look at the same features.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.live.frame_buffer import Arrival
from reasonseg_ros.live.requests import lost
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.segmenter.port import Features, Segmenter, Tracker
from reasonseg_ros.segmenter.regions import followed
from reasonseg_ros.types import Frame, Segmentation, Status

_Key = TypeVar("_Key")


@dataclass(eq=False)
class _Followed(Generic[_Key]):
    """An answer whose targets are followed: where they were last, and what follows them."""

    key: _Key
    segmentation: Segmentation
    tracker: Tracker


class Follower(Generic[_Key]):
    """One thread that takes the newest image, steps every tracker, and tells each answer's new masks.

    Args:
        on_masks: called with the key that `follow` was given and the masks on the newest image, those of targets that
            are not seen being empty. A status other than OK is the last that is told of a key. LOST: none of its
            targets has been seen for long, the stream gave out, or following failed once. FAILED: the model gave
            numbers that are not finite, so that asking again does not help.
        max_rate_hz: at most so many images a second; 0 takes every one that it can.
    """

    def __init__(
        self, segmenter: Segmenter, on_masks: Callable[[_Key, Segmentation], None], max_rate_hz: float = 0.0
    ) -> None:
        self.segmenter = segmenter
        self.on_masks = on_masks
        self.max_rate_hz = max_rate_hz
        self._changed = threading.Condition()
        self._newest: Arrival | None = None
        self._followed: list[_Followed[_Key]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reasonseg follower", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """False where the thread does not end within the time."""
        with self._changed:
            self._stopping = True
            self._followed.clear()
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def show(self, arrival: Arrival) -> None:
        """Put the newest image into its slot."""
        with self._changed:
            self._newest = arrival
            self._changed.notify_all()

    def follow(self, key: _Key, segmentation: Segmentation, tracker: Tracker) -> None:
        """Follow the regions of `segmentation`, which `tracker` has seen up to its frame. Replaces what `key` had."""
        with self._changed:
            self._followed = [item for item in self._followed if item.key is not key]
            self._followed.append(_Followed(key, segmentation, tracker))
            self._changed.notify_all()

    def drop(self, key: _Key) -> bool:
        """Follow `key` no longer. False where it was not followed."""
        with self._changed:
            before = len(self._followed)
            self._followed = [item for item in self._followed if item.key is not key]
            return len(self._followed) < before

    def end_all(self, reason: str) -> None:
        """Tell every answer as LOST for `reason`, and follow none any longer."""
        with self._changed:
            items, self._followed = self._followed, []
            self._newest = None
        for item in items:
            self.on_masks(item.key, lost(item.segmentation, reason))

    def keys(self) -> list[_Key]:
        with self._changed:
            return [item.key for item in self._followed]

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            begin_s = time.monotonic()
            try:
                self._step(*taken)
            except InvalidInput:
                pass  # told and counted where the image arrived
            # Nothing may end the thread that all answers hang on.
            except Exception as error:
                self._end(taken[1], error)
            if self.max_rate_hz:
                with self._changed:
                    left_s = begin_s + 1 / self.max_rate_hz - time.monotonic()
                    self._changed.wait_for(lambda: self._stopping, max(0.0, left_s))

    def _take(self) -> tuple[Arrival, list[_Followed[_Key]]] | None:
        with self._changed:
            while not self._stopping:
                if self._newest is not None and self._followed:
                    arrival, self._newest = self._newest, None
                    return arrival, list(self._followed)
                self._changed.wait()
            return None

    def _step(self, arrival: Arrival, items: list[_Followed[_Key]]) -> None:
        # An answer that was carried to a newer image than this one waits for the next.
        items = [item for item in items if item.segmentation.frame.stamp_ns < arrival.stamp_ns]
        if not items:
            return
        frame = arrival.load()
        features = self.segmenter.encode(frame.rgb)
        for item in items:
            try:
                masks = _next(item, frame, features)
            # One answer's tracker that fails costs that answer alone.
            except Exception as error:
                self._end([item], error)
                continue
            with self._changed:
                if item not in self._followed:  # dropped meanwhile
                    continue
                item.segmentation = masks
                if masks.status is Status.LOST:
                    self._followed.remove(item)
            self.on_masks(item.key, masks)

    def _end(self, items: list[_Followed[_Key]], error: Exception) -> None:
        """Tell what a model's error makes of these answers, and follow them no longer."""
        with self._changed:
            items = [item for item in items if item in self._followed]
            self._followed = [item for item in self._followed if item not in items]
        for item in items:
            answer = failed(item.segmentation.answer, "tracking", error)
            if isinstance(error, ModelError):
                self.on_masks(item.key, replace(item.segmentation, answer=answer, regions=()))
            else:
                self.on_masks(item.key, lost(item.segmentation, answer.error))


def _next(item: _Followed[Any], frame: Frame, features: Features) -> Segmentation:
    """The answer's masks in the next frame, or LOST."""
    last = item.segmentation
    if last.frame.size_wh != frame.size_wh:
        return replace(lost(last, "the camera changed its image size"), frame=frame)
    start_s = time.perf_counter()
    tracks = item.tracker.step(features, frame.stamp_ns)
    regions = tuple(followed(region, track) for region, track in zip(last.regions, tracks, strict=True))
    masks = replace(
        last,
        frame=frame,
        regions=regions,
        seconds={"following": time.perf_counter() - start_s},
        reasoned_stamp_ns=last.reasoned_stamp_ns or last.frame.stamp_ns,
    )
    is_lost = all(track.state == "lost" for track in tracks)
    return lost(masks, "the target has not been seen for long") if is_lost else masks

"""Track ids that are unique among several trackers, because each of them counts from 1."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.segmenter.port import Features, Track, Tracker
from reasonseg_ros.types import BoolMask, Grounding


class NumberedTracker:
    """Wraps a tracker: each new track gets the next of `numbers`, which several trackers share."""

    def __init__(self, tracker: Tracker, numbers: Iterator[int] | None = None) -> None:
        self._tracker = tracker
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._ids: dict[int, int] = {}  # ours by the tracker's

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        tracks = self._tracker.add(features, groundings, stamp_ns, masks)
        self._ids |= {track.track_id: next(self._numbers) for track in tracks}
        return self._numbered(tracks)

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        return self._numbered(self._tracker.step(features, stamp_ns))

    def remove(self, track_ids: Sequence[int]) -> None:
        inner = {ours: theirs for theirs, ours in self._ids.items()}
        for track_id in track_ids:
            if track_id not in inner:
                known = ", ".join(map(str, inner)) or "nothing"
                raise InvalidInput(f"track {track_id} is not tracked; tracked: {known}")
            self._tracker.remove([inner[track_id]])
            del self._ids[inner.pop(track_id)]

    def reset(self) -> None:
        self._ids.clear()
        self._tracker.reset()

    def _numbered(self, tracks: Sequence[Track]) -> list[Track]:
        return [replace(track, track_id=self._ids[track.track_id]) for track in tracks]

"""Tracking without a memory: the last mask is the prompt in the next frame.

It works with every segmenter and takes one decoding per frame. It knows only the target's last position: if a target
moves by more than its size between two frames, or is hidden, the mask switches to the object at that place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reasonseg_ros.config.models import TrackerConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import clip_box, innermost_xy, mask_box
from reasonseg_ros.segmenter.port import Features, ScoredMask, Segmenter, Track
from reasonseg_ros.segmenter.track_states import NEW, TrackState
from reasonseg_ros.types import BoolMask, Grounding

MARGIN_SHARE = 0.1
"""Margin on each side of the last mask's box, as a share of it, because the target may have moved."""
LEAST_SCORE = 0.5
GREATEST_CHANGE = 2.5
"""A mask with a lower score, or larger or smaller than the last one by this factor, is not the target."""


@dataclass
class _Target:
    state: TrackState
    prompt: Grounding
    area_px: int


class RepromptTracker:
    """Tracks targets by their last position. Not thread-safe."""

    def __init__(self, segmenter: Segmenter, read_config: Callable[[], TrackerConfig]) -> None:
        """`read_config` gives the current settings; it is called at each step, so that changes apply at once."""
        self._segmenter = segmenter
        self._read_config = read_config
        self._targets: dict[int, _Target] = {}
        self._next_id = 1

    def reset(self) -> None:
        """Forget every target; ids are not used again."""
        self._targets.clear()

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        """Start to track one target for each grounding in this frame; given masks are not decoded again."""
        found = self._decode(features, groundings) if masks is None else [ScoredMask(mask, 1.0) for mask in masks]
        tracks = []
        for grounding, scored in zip(groundings, found, strict=True):
            tracks.append(self._begin(self._next_id, grounding, scored, stamp_ns))
            self._next_id += 1
        return tracks

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        """Every target in the next frame, in the order of their ids."""
        targets = sorted(self._targets.values(), key=lambda target: target.state.track_id)
        found = self._decode(features, [target.prompt for target in targets])
        seen = [_is_target(target, scored) for target, scored in zip(targets, found, strict=True)]
        masks = [
            scored.mask if is_seen else np.zeros_like(scored.mask) for scored, is_seen in zip(found, seen, strict=True)
        ]
        if not self._read_config().overlap:
            _divide(masks, [scored.score for scored in found])
        tracks = []
        for target, scored, mask in zip(targets, found, masks, strict=True):
            area_px = int(np.count_nonzero(mask))
            if area_px:
                target.prompt, target.area_px = _prompt(mask, target.prompt), area_px
            target.state = target.state.after(area_px > 0, stamp_ns, self._read_config().lost_after_s)
            tracks.append(target.state.track(mask, scored.score if area_px else 0.0))
        return tracks

    def remove(self, track_ids: Sequence[int]) -> None:
        """Stop tracking these targets. Raises InvalidInput for an id that is not tracked."""
        for track_id in track_ids:
            self._need(track_id)
            del self._targets[track_id]

    def _decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        return self._segmenter.decode(features, groundings) if groundings else []

    def _begin(self, track_id: int, grounding: Grounding, scored: ScoredMask, stamp_ns: int) -> Track:
        state = TrackState(track_id, NEW, stamp_ns, stamp_ns)
        area_px = int(np.count_nonzero(scored.mask))
        prompt = _prompt(scored.mask, grounding) if area_px else grounding
        self._targets[track_id] = _Target(state, prompt, area_px)
        return state.track(scored.mask, scored.score)

    def _need(self, track_id: int) -> None:
        if track_id not in self._targets:
            known = ", ".join(map(str, self._targets)) or "nothing"
            raise InvalidInput(f"track {track_id} is not tracked; tracked: {known}")


def _prompt(mask: BoolMask, last: Grounding) -> Grounding:
    """Box and innermost point of a non-empty mask."""
    box = mask_box(mask)
    assert box is not None
    margin = np.tile((box[2:] - box[:2]) * MARGIN_SHARE, 2) * [-1, -1, 1, 1]
    wider = clip_box(box + margin, (mask.shape[1], mask.shape[0]))
    point = innermost_xy(mask)[None]
    return replace(
        last, box_xyxy=box if wider is None else wider, points_xy=point, point_labels=np.ones(1, np.int32), has_box=True
    )


def _is_target(target: _Target, scored: ScoredMask) -> bool:
    area_px = int(np.count_nonzero(scored.mask))
    if not area_px or scored.score < LEAST_SCORE:
        return False
    return not target.area_px or 1 / GREATEST_CHANGE < area_px / target.area_px < GREATEST_CHANGE


def _divide(masks: list[BoolMask], scores: list[float]) -> None:
    """Assign each pixel to the mask with the highest score. Changes the masks."""
    if not masks:
        return
    taken = np.zeros_like(masks[0])
    for index in sorted(range(len(masks)), key=lambda index: -scores[index]):
        masks[index] = masks[index] & ~taken
        taken |= masks[index]

"""Following by the last mask's box and point, over a segmenter that finds the bright pixels in the box."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from reasonseg_ros.config.models import TrackerConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.segmenter.port import Features, ScoredMask
from reasonseg_ros.segmenter.reprompting import RepromptTracker
from reasonseg_ros.types import BoolMask, Grounding

WH = (80, 60)
SECOND_NS = 10**9


class BrightInBox:
    """Masks are the pixels above 0 inside the box; the score is the greatest of them."""

    name = "bright in box"

    def encode(self, rgb: np.ndarray) -> Features:
        return Features(rgb, WH)

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        found = []
        for grounding in groundings:
            inside = np.zeros(WH[::-1], bool)
            x1, y1, x2, y2 = grounding.box_xyxy.round().astype(int)
            inside[y1:y2, x1:x2] = True
            values = np.where(inside, features.data, 0)
            found.append(ScoredMask(values > 0, float(values.max())))
        return found


def scene(x: int, y: int = 20, side: int = 10, score: float = 0.9) -> Features:
    """A bright square with its corner at x, y."""
    data = np.zeros(WH[::-1])
    data[y : y + side, x : x + side] = score
    return Features(data, WH)


def square(x: int, y: int = 20, side: int = 10) -> BoolMask:
    mask: BoolMask = scene(x, y, side).data > 0
    return mask


def box(*xyxy: float) -> Grounding:
    return Grounding(np.array(xyxy, np.float32))


def test_finished_masks_are_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = BrightInBox()
    tracker = RepromptTracker(segmenter, TrackerConfig)
    with monkeypatch.context() as patch:
        patch.setattr(segmenter, "decode", None)
        [track] = tracker.add(scene(10), [box(0, 0, 5, 5)], 0, [square(10)])
    assert np.array_equal(track.mask, square(10)) and (track.state, track.score) == ("new", 1.0)
    [track] = tracker.step(scene(11), 1)
    assert np.array_equal(track.mask, square(11)), "found by the mask, wherever the grounding was"


def test_a_target_that_moves_a_little_is_followed() -> None:
    tracker = RepromptTracker(BrightInBox(), TrackerConfig)
    [track] = tracker.add(scene(10), [box(8, 18, 22, 32)], 0)
    assert (track.track_id, track.state, track.score) == (1, "new", pytest.approx(0.9))
    for step, x in enumerate((11, 12, 13), 1):
        [track] = tracker.step(scene(x), step)
        assert track.state == "tracked"
        assert np.array_equal(track.mask, square(x))


@pytest.mark.parametrize(
    "features",
    [scene(10, score=0.4), scene(60), scene(0, 0, 60), scene(12, 22, 3)],
    ids=["not trusted", "gone", "all of the image", "far too small"],
)
def test_what_is_not_the_target_is_no_mask(features: Features) -> None:
    class Anywhere(BrightInBox):
        """Draws beyond the box, as models do."""

        def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
            large = features.data.sum() > 1000
            return super().decode(features, [box(0, 0, *WH)] if large else groundings)

    tracker = RepromptTracker(Anywhere(), partial(TrackerConfig, lost_after_s=1.5))
    tracker.add(scene(10), [box(8, 18, 22, 32)], 0)
    states = []
    for second in (1, 2, 3):
        [track] = tracker.step(features, second * SECOND_NS)
        assert not track.mask.any() and track.score == 0 and track.seen_ns == 0
        states.append((track.state, track.since_ns // SECOND_NS))
    assert states == [("occluded", 1), ("lost", 2), ("lost", 2)]
    [track] = tracker.step(scene(10), 4 * SECOND_NS)
    assert (track.state, track.since_ns // SECOND_NS) == ("tracked", 4), "it is found where it was"


def test_a_pixel_belongs_to_one_target_unless_they_may_overlap() -> None:
    prompts = [box(8, 18, 22, 32), box(10, 20, 20, 30)]
    for overlap in (False, True):
        tracker = RepromptTracker(BrightInBox(), partial(TrackerConfig, overlap=overlap))
        tracker.add(scene(10), prompts, 0)
        first, second = tracker.step(scene(10), 1)
        assert (first.mask & second.mask).any() == overlap
        assert np.array_equal(first.mask | second.mask, square(10))


def test_targets_come_and_go() -> None:
    tracker = RepromptTracker(BrightInBox(), TrackerConfig)
    assert tracker.step(scene(10), 0) == []
    tracker.add(scene(10), [box(8, 18, 22, 32)] * 2, 1)
    tracker.remove([1])
    assert [track.track_id for track in tracker.add(scene(10), [box(8, 18, 22, 32)], 1)] == [3]
    assert [track.track_id for track in tracker.step(scene(10), 2)] == [2, 3]
    with pytest.raises(InvalidInput, match="track 1 is not tracked; tracked: 2, 3"):
        tracker.remove([1])
    tracker.reset()
    assert tracker.step(scene(10), 4) == []

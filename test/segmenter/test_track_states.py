from __future__ import annotations

import numpy as np

from reasonseg_ros.segmenter.track_states import TrackState, masks_from_logits

FULL_WH = (16, 12)


def logits(left: float, right: float) -> np.ndarray:
    """float32 [6, 8], one value in each half."""
    values = np.full((6, 8), left, np.float32)
    values[:, 4:] = right
    return values


def test_the_surest_mask_gets_the_pixel() -> None:
    claims = [logits(1, 3), logits(2, 1), None, logits(-1, -1)]
    first, second, unseen, none = masks_from_logits(claims, FULL_WH, disjoint=True)
    assert first.shape == (12, 16)
    assert second[:, :6].all() and not second[:, 10:].any()
    assert first[:, 10:].all() and not first[:, :6].any()
    assert not (first & second).any() and (first | second).all()
    assert not unseen.any() and not none.any()


def test_masks_may_overlap() -> None:
    first, second = masks_from_logits([logits(1, 3), logits(2, 1)], FULL_WH, disjoint=False)
    assert first.all() and second.all()


def test_time_may_run_backwards() -> None:
    state = TrackState(1, "new", 10**10, 10**10)
    states = []
    for stamp_s, is_seen in ((9, True), (8, False), (7, False), (5, False), (4, True)):
        state = state.after(is_seen, stamp_s * 10**9, lost_after_s=2.0)
        states.append((state.state, state.since_ns // 10**9, state.seen_ns // 10**9))
    assert states == [("tracked", 9, 9), ("occluded", 8, 9), ("occluded", 8, 9), ("lost", 5, 9), ("tracked", 4, 4)]


def test_a_target_without_a_pixel_is_never_tracked() -> None:
    """Another target takes all of its pixels, or the model marks none at its prompt."""
    masks = masks_from_logits([logits(9, 9), logits(3, 3)], FULL_WH, disjoint=True)
    for state, expected in (("new", "occluded"), ("tracked", "occluded"), ("occluded", "occluded"), ("lost", "lost")):
        track = TrackState(2, state, 0, 0).track(masks[1], 0.8)
        assert (track.state, track.score, track.mask.any()) == (expected, 0.0, False)
    assert TrackState(1, "tracked", 0, 0).track(masks[0], 0.8).state == "tracked"

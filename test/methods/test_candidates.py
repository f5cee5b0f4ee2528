"""Candidates from attention and samples: worked cases, and what holds for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from reasonseg_ros.geometry import box_iou, mask_iou
from reasonseg_ros.methods.candidates import (
    ATTENTION,
    DIRECT,
    MOST,
    SAME_MASK_IOU,
    SAMPLE,
    Candidate,
    attention_boxes,
    counted,
    distinct,
    means_the_same,
)
from reasonseg_ros.types import Answer, Grounding, Region, Status


def answer(*boxes: tuple[float, ...], nats: float | None = None) -> Answer:
    status = Status.OK if boxes else Status.NO_TARGET
    return Answer(status, groundings=tuple(Grounding(np.array(box)) for box in boxes), log_likelihood_nats=nats)


def candidate(mask: np.ndarray, source: str = SAMPLE, votes: int = 1, has_target: bool = True) -> Candidate:
    found = answer((0, 0, 1, 1)) if has_target else answer()
    regions = tuple(Region(mask, one.box_xyxy, one, 1.0, 1.0, 1.0, 0, 1) for one in found.groundings)
    return Candidate(found, source, votes, regions, mask)


def box_mask(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def two_spots() -> np.ndarray:
    """6 rows, 8 columns: a spot over column 1 and rows 1 and 2, and a lower one over columns 5 and 6 of row 4."""
    attention = np.full((6, 8), 0.01, np.float32)
    attention[1:3, 1] = 1.0
    attention[4, 5:7] = 0.95
    return attention


def test_each_spot_is_a_box_around_it_and_a_point_in_it() -> None:
    found = attention_boxes(two_spots(), (640, 480))
    peaks = [grounding for grounding in found if len(grounding.points_xy)]
    assert len(peaks) == 2
    places = sorted(tuple(grounding.points_xy[0]) for grounding in peaks)
    assert places[0] == pytest.approx((120, 160), abs=45) and places[1] == pytest.approx((480, 360), abs=45)
    for grounding in found:
        truth = [(80, 80, 160, 240), (400, 320, 560, 400)]
        assert max(box_iou(grounding.box_xyxy, box) for box in truth) > 0.25
    assert len(found) == 4  # both spots again as components


def test_components_are_those_of_another_library() -> None:
    found = [one.box_xyxy for one in attention_boxes(two_spots(), (64, 48)) if not len(one.points_xy)]
    # At any threshold between ground and spots there are two components.
    count = ndimage.label(two_spots() > 0.5, np.ones((3, 3)))[1]
    assert len(found) == count == 2


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_flat_map_has_no_boxes(value: float) -> None:
    assert attention_boxes(np.full((6, 8), value, np.float32), (640, 480)) == []


@given(arrays(np.float32, (5, 7), elements=st.floats(0, 10, width=32)), st.integers(7, 500), st.integers(5, 400))
def test_boxes_of_any_map_lie_in_the_image_and_hold_their_points(
    attention: np.ndarray, width: int, height: int
) -> None:
    for grounding in attention_boxes(attention, (width, height)):
        x1, y1, x2, y2 = grounding.box_xyxy
        assert 0 <= x1 < x2 <= width + 1e-3 and 0 <= y1 < y2 <= height + 1e-3
        assert all(x1 <= x <= x2 and y1 <= y <= y2 for x, y in grounding.points_xy)


def test_answers_mean_the_same_if_their_boxes_overlap_in_pairs() -> None:
    two, moved = answer((0, 0, 10, 10), (20, 0, 30, 10)), answer((20, 0, 30, 10.5), (0, 0, 10, 9.5))
    assert means_the_same(two.groundings, moved.groundings)
    assert not means_the_same(two.groundings, moved.groundings[:1])
    assert not means_the_same(answer((0, 0, 10, 10)).groundings, answer((5, 0, 15, 10)).groundings)
    assert means_the_same((), ())


def test_samples_vote_for_the_answer_that_they_mean_and_failures_do_not() -> None:
    direct, other = answer((0, 0, 10, 10), nats=-5), answer((20, 20, 30, 30), nats=-9)
    likelier = answer((20, 20, 30, 30.5), nats=-3)
    failure = Answer(Status.UNPARSABLE, error="no answer in it")
    samples = [other, direct, failure, answer(), likelier, answer((0, 0, 10, 9.9)), other]
    found = counted(direct, samples)
    assert [(source, votes) for _, source, votes in found] == [(DIRECT, 2), (SAMPLE, 3), (SAMPLE, 1)]
    assert found[0][0] is direct and found[1][0] is likelier and found[2][0].status is Status.NO_TARGET
    assert [source for _, source, _ in counted(None, samples[:2])] == [SAMPLE, SAMPLE]


def test_equal_masks_are_one_candidate_with_all_votes() -> None:
    one, same, other = box_mask(0, 0, 10, 10), box_mask(0, 0, 10, 9), box_mask(10, 10, 20, 20)
    found = distinct(
        [candidate(one, DIRECT, 2), candidate(other), candidate(same, votes=3), candidate(one, ATTENTION, 0)]
    )
    assert [(item.source, item.votes) for item in found] == [(DIRECT, 5), (SAMPLE, 1)]
    assert found[0].mask is one


def test_nothing_fits_is_a_candidate_and_an_empty_mask_is_none() -> None:
    nothing, empty = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    found = distinct([candidate(empty), candidate(nothing, has_target=False), candidate(nothing, has_target=False)])
    assert [(item.answer.status, item.votes) for item in found] == [(Status.NO_TARGET, 2)]


corner = st.integers(0, 15)


@given(st.lists(st.tuples(corner, corner, st.integers(1, 5), st.integers(1, 5)), max_size=14))
def test_distinct_masks_differ_and_are_few(boxes: list[tuple[int, ...]]) -> None:
    given_ones = [candidate(box_mask(x, y, x + w, y + h)) for x, y, w, h in boxes]
    found = distinct(given_ones)
    assert len(found) <= MOST and bool(found) == bool(given_ones)
    assert all(one.mask is first.mask for one, first in zip(found[:1], given_ones[:1], strict=True))
    for index, one in enumerate(found):
        assert all(mask_iou(one.mask, other.mask) <= SAME_MASK_IOU for other in found[:index])
    if len(distinct(given_ones, 100)) == len(found):
        assert sum(one.votes for one in found) == len(given_ones)

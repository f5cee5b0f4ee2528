"""Scores against naive loops and other libraries, on random and on adversarial masks."""

import itertools
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.metrics import (
    PROTOCOLS,
    difference,
    points_share,
    sample_iou,
    score_sample,
    summarise,
)
from reasonseg_ros.types import Grounding

SHAPE = (13, 17)


def block(y1, x1, y2, x2, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[y1:y2, x1:x2] = True
    return mask


EMPTY, FULL = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
RING = block(2, 2, 11, 15) & ~block(5, 5, 8, 12)
NAMED = {
    "empty": EMPTY,
    "full": FULL,
    "corner pixel": block(0, 0, 1, 1),
    "last pixel": block(12, 16, 13, 17),
    "ring": RING,
    "hole": block(5, 5, 8, 12),
    "noise": np.random.default_rng(0).random(SHAPE) > 0.5,
}

IGNORED = {name: NAMED[name] for name in ("empty", "full", "ring", "noise")}


def counted(prediction, target, ignore, protocol):
    """Intersection and union, pixel by pixel, as the protocols define them."""
    intersection = union = 0
    for said, true, ignored in zip(*(mask.ravel().tolist() for mask in (prediction, target, ignore)), strict=True):
        if ignored and protocol == "lisa":
            continue
        true = true or ignored
        intersection += said and true
        union += said or true
    return intersection, union


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("said", NAMED)
def test_intersection_and_union_are_those_of_a_naive_loop(said, protocol):
    prediction = NAMED[said]
    for (true, target), (ignored, ignore) in itertools.product(NAMED.items(), IGNORED.items()):
        score = score_sample(prediction, target, ignore, protocol)
        intersection, union = counted(prediction, target, ignore, protocol)
        assert (score.intersection_px, score.union_px) == (intersection, union), (true, ignored)
        epsilon = 1e-5 if protocol == "lisa" else 0
        assert score.iou == pytest.approx(intersection / (union + epsilon) if union else 1.0), (true, ignored)
        assert score.parsed
        assert sample_iou(prediction, target, ignore, protocol) == score.iou, (true, ignored)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1))
def test_iou_is_pycocotools(seed, height, width, said_share, true_share):
    rng = np.random.default_rng(seed)
    prediction, target = rng.random((height, width)) < said_share, rng.random((height, width)) < true_share
    score = score_sample(prediction, target, protocol="seg_zero")
    codes = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in (prediction, target)]
    theirs = coco_mask.iou([codes[0]], [codes[1]], [0])[0, 0] if (prediction | target).any() else 1.0
    assert score.iou == pytest.approx(theirs)


@pytest.mark.parametrize("shape", [(13, 17), (1024, 1024), (700, 1500), (1, 3000), (1, 1)])
def test_normalised_counts_are_those_of_nearest_neighbour_interpolation(shape):
    rng = np.random.default_rng(shape[0])
    prediction, target, ignore = (rng.random(shape) < share for share in (0.4, 0.5, 0.1))
    score = score_sample(prediction, target, ignore, "lisa")

    def resized(mask):
        return cv2.resize(mask.astype(np.uint8), (1024, 1024), interpolation=cv2.INTER_NEAREST) > 0

    said, true, ignored = resized(prediction), resized(target), resized(ignore)
    assert score.normalised_intersection_px == (said & true & ~ignored).sum()
    assert score.normalised_union_px == ((said | true) & ~ignored).sum()


def test_where_everything_is_ignored_lisa_has_nothing_to_find_and_seg_zero_everything():
    lisa = score_sample(RING, RING, FULL, "lisa")
    assert (lisa.iou, lisa.union_px, lisa.target_empty, lisa.prediction_empty) == (1.0, 0, True, True)
    seg_zero = score_sample(RING, RING, FULL, "seg_zero")
    assert (seg_zero.intersection_px, seg_zero.union_px) == (RING.sum(), FULL.sum())
    assert not seg_zero.target_empty


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("target", [RING, EMPTY, FULL], ids=["ring", "empty", "full"])
def test_an_answer_that_was_not_understood_has_iou_0_and_the_target_as_union(target, protocol):
    score = score_sample(None, target, None, protocol)
    assert (score.iou, score.intersection_px, score.union_px) == (0.0, 0, target.sum())
    assert (score.boundary_iou, score.boundary_f) == (0.0, 0.0)
    assert not score.parsed and not score.right_target
    summary = summarise([score])
    assert (summary["samples"], summary["failed"], summary["giou"], summary["parseable"]) == (1, 1, 0.0, 0.0)
    assert summary["n_acc"] == (0.0 if target is EMPTY else None)


@pytest.mark.parametrize(("said", "ignored"), [((17, 13), SHAPE), ((1, 1), SHAPE), (SHAPE, (13, 16)), ((0, 0), SHAPE)])
def test_sizes_that_differ_are_refused_with_both_sizes(said, ignored):
    with pytest.raises(InvalidInput, match=r"\d+ x \d+ for a target of 17 x 13"):
        score_sample(np.zeros(said, bool), RING, np.zeros(ignored, bool))


def test_masks_without_pixels_and_unknown_protocols_are_refused():
    nothing = np.zeros((0, 5), bool)
    with pytest.raises(InvalidInput, match="5 x 0"):
        score_sample(nothing, nothing)
    with pytest.raises(InvalidInput, match="lisa, seg_zero"):
        score_sample(RING, RING, None, "coco")


def grounding(*box, points=()):
    return Grounding(np.array(box), np.array(points))


def test_box_score_takes_the_box_around_all_groundings():
    target = block(2, 2, 4, 6) | block(8, 10, 10, 14)  # around both: x 2..14, y 2..10
    both = [grounding(2, 2, 6, 4), grounding(10, 8, 14, 10)]
    boxes = [each.box_xyxy for each in both]
    found = score_sample(target, target, groundings=both, target_boxes_xyxy=boxes)
    assert found.box_iou == 1.0 and found.right_target
    one = score_sample(target, target, groundings=both[:1], target_boxes_xyxy=boxes)
    assert one.box_iou == pytest.approx(8 / 96) and not one.right_target
    none = score_sample(EMPTY, target, groundings=[], target_boxes_xyxy=boxes)
    assert none.box_iou == 0.0 and not none.right_target
    assert score_sample(target, target).box_iou is None
    assert score_sample(EMPTY, EMPTY, groundings=[]).box_iou is None


def test_points_are_judged_by_their_pixel_and_only_positive_ones():
    target = block(2, 2, 4, 6)
    points = np.array([[2, 2], [5.9, 3.9], [6, 3], [-1, 2], [99, 2], [3, 3]], np.float32)
    labelled = Grounding(np.array([0, 0, 17, 13]), points, np.array([1, 1, 1, 1, 1, 0]))
    assert points_share([labelled], target) == pytest.approx(2 / 5)
    assert points_share([grounding(0, 0, 5, 5)], target) is None
    assert points_share([], target) is None


def test_summary_of_a_hand_made_set():
    target = block(0, 0, 2, 10)  # 20 pixels
    scores = [
        score_sample(target, target, protocol="seg_zero"),  # IoU 1, 20 of 20
        score_sample(block(0, 0, 1, 10), target, protocol="seg_zero"),  # IoU 1/2, 10 of 20
        score_sample(EMPTY, EMPTY, protocol="seg_zero"),  # IoU 1, nothing of nothing
        score_sample(block(0, 0, 1, 5), EMPTY, protocol="seg_zero"),  # IoU 0, 0 of 5
        score_sample(None, target, protocol="seg_zero"),  # IoU 0, 0 of 20
    ]
    summary = summarise(scores)
    assert (summary["samples"], summary["failed"]) == (5, 1)
    assert summary["giou"] == pytest.approx((1 + 0.5 + 1) / 5)
    assert summary["ciou"] == pytest.approx(30 / 65)
    assert summary["n_acc"] == 0.5
    assert summary["parseable"] == 0.8
    assert summary["box_acc_50"] is None and summary["points_in_target"] is None
    low, high = summary["intervals_95"]["giou"]
    assert 0 <= low < summary["giou"] < high <= 1
    json.dumps(summary, allow_nan=False)


def test_nothing_at_all_is_summarised_without_a_number():
    summary = summarise([])
    assert (summary["samples"], summary["failed"], summary["giou"]) == (0, 0, None)
    assert summary["intervals_95"]["ciou"] is None


def test_a_steady_gain_has_a_narrower_interval_than_the_scores_themselves():
    rng = np.random.default_rng(1)
    base = score_sample(RING, RING)
    ious = rng.uniform(0.1, 0.9, 200)
    before = [replace(base, iou=iou) for iou in ious]
    after = [replace(base, iou=iou + 0.05) for iou in ious]
    gain = difference(before, after)["giou"]
    assert gain["difference"] == pytest.approx(0.05)
    low, high = gain["interval_95"]
    assert 0.0499 < low <= high < 0.0501
    alone_low, alone_high = summarise(after)["intervals_95"]["giou"]
    assert alone_high - alone_low > 0.03


def test_a_difference_needs_as_many_scores_on_both_sides():
    with pytest.raises(InvalidInput, match="1 scores against 0"):
        difference([score_sample(RING, RING)], [])


def test_points_at_the_first_pixel_are_inside_and_those_before_it_are_not():
    corner = block(0, 0, 1, 1)

    def share(x, y):
        return points_share([Grounding([0, 0, 2, 2], [[x, y]], [1])], corner)

    assert share(0, 0) == share(0.9, 0.9) == 1.0
    assert share(-0.1, 0) == share(0, -0.1) == share(1, 0) == 0.0
    assert points_share([Grounding([0, 0, 2, 2], [[-1, 12]], [1])], block(12, 16, 13, 17)) == 0.0
    assert points_share([], corner) is None


def test_boxes_and_points_count_only_where_there_is_a_target():
    pointed = [Grounding([2, 2, 6, 6], [[3, 3]], [1])]
    nothing = score_sample(EMPTY, EMPTY, groundings=pointed)
    assert (nothing.box_iou, nothing.points_in_target) == (None, None)
    target = block(2, 2, 6, 6)
    right = score_sample(target, target, groundings=pointed)
    half = score_sample(target, target, groundings=[Grounding([2, 2, 6, 4])])
    less = score_sample(target, target, groundings=[Grounding([2, 2, 6, 3])])
    missed = score_sample(target, target, groundings=[Grounding([9, 9, 12, 12])])
    assert [each.box_iou for each in (right, half, less, missed)] == [1.0, 0.5, 0.25, 0.0]
    summary = summarise([right, half, less, missed, nothing])
    assert (summary["box_acc_50"], summary["points_in_target"]) == (0.25, 1.0)  # exactly half is not enough

"""Overlap and matching against pycocotools and against trying every assignment."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from reasonseg_ros.training.reinforcement.boxes import inclusive_iou, matched

SPANS = st.tuples(st.integers(0, 60), st.integers(0, 30))


@given(SPANS, SPANS, SPANS, SPANS)
def test_overlap_is_that_of_pycocotools_for_boxes_one_pixel_wider(ax, ay, bx, by):
    boxes = [(x, y, x + w, y + h) for (x, w), (y, h) in ((ax, ay), (bx, by))]
    wider = [np.array([[x1, y1, x2 - x1 + 1, y2 - y1 + 1]], float) for x1, y1, x2, y2 in boxes]
    assert inclusive_iou(*boxes) == pytest.approx(coco.iou(wider[0], wider[1], [0])[0, 0])


def test_a_box_with_its_corners_in_the_wrong_order_overlaps_with_nothing():
    assert inclusive_iou((10, 10, 0, 0), (0, 0, 10, 10)) == 0
    assert inclusive_iou((5, 5, 4, 9), (0, 0, 10, 10)) == 0


@given(st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_matching_is_the_best_of_all_assignments(k, n, rng):
    gains = np.array([[rng.choice((0.0, 1.0, 2.0, 3.0)) for _ in range(n)] for _ in range(k)])
    tall = gains if k >= n else gains.T
    best = max(
        sum(tall[row, column] for column, row in enumerate(rows))
        for rows in itertools.permutations(range(len(tall)), tall.shape[1])
    )
    assert matched(gains) == pytest.approx(best / max(k, n))

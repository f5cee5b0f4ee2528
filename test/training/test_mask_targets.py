"""Targets of masks: the published preparation, judged by scipy, and objects separated by their boxes."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.clips import Truth
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.training.mask_targets import inner_points_xy, object_masks, segmented_again, target_of


def filled(*boxes, size_wh=(100, 60)):
    mask = np.zeros(size_wh[::-1], bool)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = True
    return mask


def truth(mask, *boxes):
    no_points = np.zeros((0, 2), np.float32)
    return Truth(mask, np.zeros_like(mask), np.array(boxes, np.float32).reshape(-1, 4), no_points)


@pytest.mark.parametrize("seed", range(5))
def test_points_are_those_of_the_published_preparation(seed):
    rng = np.random.default_rng(seed)
    mask = filled(*(np.sort(rng.integers(0, 60, 4)).tolist() for _ in range(3)))
    mask[30, 30] = True
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    (x1, y1), (x2, y2) = inner_points_xy(mask, 2).astype(int)
    assert depth[y1, x1] == pytest.approx(depth.max(), abs=1e-4)
    ys, xs = np.nonzero(mask)
    away = np.hypot(xs - x1, ys - y1)
    far = away > np.median(away)
    assert depth[y2, x2] == pytest.approx(depth[ys[far], xs[far]].max(), abs=1e-4)
    assert np.hypot(x2 - x1, y2 - y1) > np.median(away)
    assert (inner_points_xy(mask, 1) == [[x1, y1]]).all()


def test_a_mask_of_one_pixel_has_its_point_twice():
    assert target_of(filled((50, 30, 51, 31)), 2).points_xy == ((420.0, 420.0), (420.0, 420.0))


def test_boxes_hold_the_first_and_the_last_pixel_in_pixels_of_the_squashed_image():
    assert target_of(filled((10, 6, 21, 13)), 1).box_xyxy == (84.0, 84.0, 168.0, 168.0)
    assert target_of(filled((0, 0, 100, 60)), 1).box_xyxy == (0.0, 0.0, 832.0, 826.0)


def test_objects_are_distinguished_by_their_boxes_even_if_they_touch():
    boxes = (5, 5, 20, 20), (20, 8, 40, 18), (60, 30, 80, 50)
    masks = object_masks(truth(filled(*boxes), *boxes))
    assert all(np.array_equal(mask, filled(box)) for mask, box in zip(masks, boxes, strict=True))


def test_boxes_that_overlap_share_the_pixels():
    boxes = (5, 5, 25, 25), (20, 5, 60, 25)
    mask = filled(*boxes)
    masks = object_masks(truth(mask, *boxes))
    assert np.array_equal(masks[0] | masks[1], mask) and not (masks[0] & masks[1]).any()
    assert masks[0][15, 15] and masks[1][15, 40]


def test_without_boxes_the_whole_mask_is_one_target_and_nothing_is_none():
    two = filled((5, 5, 20, 20), (60, 30, 80, 50))
    assert [mask.tolist() for mask in object_masks(truth(two))] == [two.tolist()]
    assert object_masks(truth(np.zeros_like(two), (1, 1, 5, 5))) == []


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (((5, 5, 20, 20), (5, 5, 10, 10)), "none of its boxes"),
        (((5, 5, 80, 50), (30, 22, 50, 28)), "no pixel of the mask to itself"),
    ],
)
def test_boxes_that_do_not_fit_the_mask_are_refused(boxes, said):
    with pytest.raises(InvalidInput, match=said):
        object_masks(truth(filled((5, 5, 20, 20), (60, 30, 80, 50)), *boxes))


def test_objects_are_found_again_by_iou():
    segmenter = ScriptedSegmenter("box")
    whole, hollow = filled((10, 10, 30, 30)), filled((50, 10, 90, 50))
    hollow[14:46, 54:86] = False
    features = segmenter.encode(np.zeros((60, 100, 3), np.uint8))
    assert segmented_again(segmenter, features, [whole, hollow]) == [True, False]
    assert segmented_again(segmenter, features, [hollow], min_iou=0.3) == [True]
    assert segmented_again(segmenter, features, []) == []

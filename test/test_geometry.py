"""Boxes, points, masks and rotations by known numbers and by OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros import geometry


def test_both_axes_scale_by_themselves_and_the_shape_stays():
    scaled = geometry.scale_xy([[10, 10, 20, 30]], (100, 50), (200, 25))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[20, 5, 40, 15]]


@pytest.mark.parametrize(("size_px", "method"), [(16, cv2.INTER_AREA), (32, cv2.INTER_LINEAR), (40, cv2.INTER_LINEAR)])
def test_an_image_is_squashed_by_area_only_where_it_shrinks(size_px, method):
    rgb = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    np.testing.assert_array_equal(geometry.squash(rgb, size_px), cv2.resize(rgb, (size_px,) * 2, interpolation=method))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([2, 3, 20, 30], [2, 3, 20, 30]),
        ([20, 30, 2, 3], [2, 3, 20, 30]),
        ([-5, -7, 900, 800], [0, 0, 64, 48]),
        ([-5, 10, 1, 11], [0, 10, 1, 11]),
        ([10, 10, 10.9, 30], None),
        ([10, 10, 30, 10.9], None),
        ([70, 10, 90, 30], None),
        ([10, 50, 30, 60], None),
        ([10, 10, np.nan, 30], None),
        ([10, 10, np.inf, 30], None),
    ],
)
def test_a_box_is_cut_to_the_image_if_a_pixel_is_left(box, expected):
    clipped = geometry.clip_box(box, (64, 48))
    assert (clipped if clipped is None else clipped.tolist()) == expected


def test_points_outside_move_to_the_nearest_pixel():
    clipped = geometry.clip_points([[-3, 5], [63.5, 47.5], [10, 99]], (64, 48))
    assert clipped.tolist() == [[0, 5], [63, 47], [10, 47]]


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ([0, 0, 4, 6], 1.0),
        ([2, 0, 6, 6], 12 / 36),
        ([0, 3, 4, 9], 12 / 36),
        ([1, 2, 3, 5], 6 / 24),
        ([4, 0, 8, 6], 0.0),
        ([0, 6, 4, 9], 0.0),
        ([5, 7, 9, 9], 0.0),
    ],
)
def test_overlap_of_boxes(other, iou):
    box = [0, 0, 4, 6]
    assert geometry.box_iou(box, other) == pytest.approx(iou) == geometry.box_iou(other, box)


def test_boxes_without_area_do_not_overlap():
    assert geometry.box_iou([1, 1, 1, 1], [1, 1, 1, 1]) == 0.0
    assert geometry.box_iou([0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]) == 1.0


def test_overlap_of_masks():
    a, b = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    assert geometry.mask_iou(a, b) == 1.0
    a[:2, :3] = True
    assert geometry.mask_iou(a, b) == 0.0
    b[1:3, 1:4] = True
    assert geometry.mask_iou(a, b) == 2 / 10


def test_the_box_of_a_mask_is_tight():
    mask = np.zeros((10, 12), bool)
    assert geometry.mask_box(mask) is None
    mask[3, 4] = mask[7, 9] = True
    assert geometry.mask_box(mask).tolist() == [4, 3, 10, 8]


@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_the_box_of_a_mask_is_opencv_s_bounding_rectangle(height, width, data):
    pixels = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(pixels).reshape(height, width)
    x, y, box_width, box_height = cv2.boundingRect(mask.astype(np.uint8))
    found = geometry.mask_box(mask)
    assert (found is None) == (box_width == 0)
    assert found is None or found.tolist() == [x, y, x + box_width, y + box_height]


def test_the_innermost_pixel_is_far_from_the_outline_and_the_border():
    mask = np.zeros((21, 31), bool)
    mask[:9, :13] = True
    assert geometry.innermost_xy(mask)[1] == 4
    mask[10:19, 20:29] = mask[10, 5] = True
    mask[:9, :13] = False
    assert geometry.innermost_xy(mask).tolist() == [24, 14]


def test_logits_are_cut_above_zero_at_the_images_size():
    logits = np.array([[-1.0, 1.0], [0.0, 0.0]], np.float32)
    assert geometry.resize_logits(logits, (2, 2)).tolist() == [[False, True], [False, False]]
    assert geometry.resize_logits(logits, (6, 4)).shape == (4, 6)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.floats(0.0, np.pi - 1e-3), st.floats(0.1, 10))
def test_quaternions_and_matrices_are_opencvs_rotations(axis, angle, length):
    if np.linalg.norm(axis) < 0.1:
        axis = [0.0, 0.0, 1.0]
    axis = np.asarray(axis) / np.linalg.norm(axis)
    quaternion = [*(axis * np.sin(angle / 2)), np.cos(angle / 2)]
    rotation = cv2.Rodrigues(axis * angle)[0]
    np.testing.assert_allclose(geometry.rotation_matrix(np.multiply(quaternion, length)), rotation, atol=1e-9)
    np.testing.assert_allclose(geometry.quat_xyzw(rotation), quaternion, atol=1e-6)

"""Boundary measures against scipy's morphology, and against values worked out by hand."""

import math

import numpy as np
import pytest
from scipy import ndimage

from reasonseg_ros.evaluation.scoring.boundaries import boundary_f, boundary_iou, near


def masks_of(seed, height, width):
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width)), 4)
    shifted = np.roll(smooth, 3, axis=1) + 0.02 * rng.normal(size=smooth.shape)
    return smooth > 0, shifted > 0


def ring(shape):
    mask = np.zeros(shape, bool)
    mask[10:40, 10:60] = True
    mask[20:30, 20:50] = False
    return mask


def pixel(shape, y, x):
    mask = np.zeros(shape, bool)
    mask[y, x] = True
    return mask


SHAPE = (48, 71)
EMPTY, FULL = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
PAIRS = [
    *(masks_of(seed, *SHAPE) for seed in range(4)),
    masks_of(7, 200, 150),
    (EMPTY, EMPTY),
    (FULL, FULL),
    (EMPTY, FULL),
    (FULL, ring(SHAPE)),
    (pixel(SHAPE, 0, 0), pixel(SHAPE, 0, 0)),
    (pixel(SHAPE, 47, 70), pixel(SHAPE, 46, 69)),
    (pixel(SHAPE, 0, 70), EMPTY),
    (ring(SHAPE), np.roll(ring(SHAPE), 2, axis=0)),
    (masks_of(3, 1, 90)),
]


def plain_boundary_iou(a, b):
    width = max(1, round(0.02 * math.hypot(*a.shape)))
    bands = [m & ~ndimage.binary_erosion(m, np.ones((3, 3)), iterations=width, border_value=0) for m in (a, b)]
    union = (bands[0] | bands[1]).sum()
    return (bands[0] & bands[1]).sum() / union if union else 1.0


def plain_outline(mask):
    outline = np.zeros_like(mask)
    height, width = mask.shape
    for y in range(height):
        for x in range(width):
            below, right = min(y + 1, height - 1), min(x + 1, width - 1)
            outline[y, x] = len({mask[y, x], mask[below, x], mask[y, right], mask[below, right]}) > 1
    return outline


def disk(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def plain_boundary_f(prediction, target):
    structure = disk(math.ceil(0.008 * math.hypot(*target.shape)))
    said, true = plain_outline(prediction), plain_outline(target)
    if not said.any() or not true.any():
        return float(said.any() == true.any())
    precision = (said & ndimage.binary_dilation(true, structure)).sum() / said.sum()
    recall = (true & ndimage.binary_dilation(said, structure)).sum() / true.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_both_measures_agree_with_plain_ones(number):
    a, b = PAIRS[number]
    assert boundary_iou(a, b) == pytest.approx(plain_boundary_iou(a, b), abs=1e-12)
    assert boundary_f(a, b) == pytest.approx(plain_boundary_f(a, b), abs=1e-12)


def test_boundary_iou_of_a_square_and_the_same_square_with_a_hole_in_its_middle():
    square = np.zeros((100, 100), bool)
    square[20:80, 20:80] = True
    assert boundary_iou(square, square) == 1.0
    holed = square.copy()
    holed[45:55, 45:55] = False
    band = 60**2 - 54**2  # round(0.02 * 141.4) = 3 pixels wide
    assert boundary_iou(square, holed) == pytest.approx(band / (band + 16**2 - 10**2))


def test_an_outline_further_off_than_the_tolerance_does_not_match():
    target = np.zeros((100, 100), bool)
    target[20:50, 20:50] = True
    assert boundary_f(np.roll(target, 2, axis=1), target) == 1.0  # the tolerance is ceil(0.008 * 141.4) = 2
    assert boundary_f(np.roll(target, 40, axis=1), target) == 0.0


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("window", [np.s_[:, :], np.s_[15:25, 20:24], np.s_[:3, 45:]])
def test_near_is_dilation_by_a_disk(radius, window):
    mask = np.zeros((40, 50), bool)
    mask[window] = np.random.default_rng(radius).random(mask[window].shape) > (0.99 if window == np.s_[:, :] else 0.5)
    assert (near(mask, radius) == ndimage.binary_dilation(mask, disk(radius))).all()


def test_nothing_is_near_an_empty_mask():
    assert not near(EMPTY, 5).any()

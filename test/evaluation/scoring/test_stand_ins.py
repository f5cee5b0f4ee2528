"""Groundings made of masks and of activation maps."""

import numpy as np
import pytest
from scipy import ndimage

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.stand_ins import MAX_POINTS, from_activation, from_mask
from reasonseg_ros.geometry import innermost_xy


def test_a_mask_points_at_its_innermost_pixel():
    mask = np.zeros((60, 80), bool)
    mask[10:31, 20:61] = True
    mask[10:12, 0:70] = True  # a thin bar does not move it
    (grounding,) = from_mask(mask)
    assert grounding.box_xyxy.tolist() == [0, 10, 70, 31]
    x, y = grounding.points_xy[0]
    assert y == 20 and 30 <= x <= 50


@pytest.mark.parametrize("seed", range(3))
def test_innermost_is_the_farthest_from_the_outline(seed):
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(50, 60)), 5) > 0
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    x, y = innermost_xy(mask).astype(int)
    assert depth[y, x] == pytest.approx(depth.max())


@pytest.mark.parametrize("window", [np.s_[11:38, 14:51], np.s_[:20, 40:], np.s_[49:, :7]])
def test_innermost_in_a_part_of_the_image(window):
    mask = np.zeros((50, 60), bool)
    mask[window] = np.random.default_rng(3).random(mask[window].shape) > 0.1
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    x, y = innermost_xy(mask).astype(int)
    assert depth[y, x] == pytest.approx(depth.max())


def test_a_pixel_at_the_corner_is_its_own_innermost():
    mask = np.zeros((5, 5), bool)
    mask[4, 0] = True
    assert innermost_xy(mask).tolist() == [0, 4]


def test_an_empty_mask_points_at_nothing():
    assert from_mask(np.zeros((5, 5), bool)) == ()


def test_each_active_area_is_one_grounding_and_weak_ones_none():
    activation = np.full((24, 32), -3.0)
    activation[4:8, 4:8] = 5.0
    activation[14:20, 20:26] = 4.0  # 0.875 of the range
    activation[2:4, 28:30] = 2.0  # 0.625: never active
    first, second = sorted(from_activation(activation, (320, 240)), key=lambda grounding: grounding.box_xyxy[0])
    assert first.box_xyxy == pytest.approx([40, 40, 80, 80], abs=6)
    assert second.box_xyxy == pytest.approx([200, 140, 260, 200], abs=6)
    for grounding in (first, second):
        x1, y1, x2, y2 = grounding.box_xyxy
        x, y = grounding.points_xy.T
        assert 1 <= len(x) <= MAX_POINTS
        assert ((x >= x1) & (x < x2) & (y >= y1) & (y < y2)).all()


def test_scale_and_offset_of_an_activation_do_not_matter():
    activation = np.random.default_rng(0).random((12, 16))
    plain, moved = (from_activation(values, (64, 48)) for values in (activation, 50 * activation - 7))
    assert [g.box_xyxy.tolist() for g in plain] == [g.box_xyxy.tolist() for g in moved]


def test_a_constant_map_points_at_nothing():
    assert from_activation(np.full((4, 4), 0.7), (64, 48)) == ()


@pytest.mark.parametrize("values", [np.zeros((0, 4)), np.zeros(5), np.full((3, 3), np.nan), np.full((3, 3), np.inf)])
def test_maps_that_are_none_are_refused(values):
    with pytest.raises(InvalidInput, match="activation of shape"):
        from_activation(values, (64, 48))

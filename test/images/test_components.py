"""Holes and fragments: by hand, and against scipy's labels."""

import numpy as np
import pytest
from scipy import ndimage

from reasonseg_ros.images.components import labelled_fragments, labelled_holes

PICTURE = """
..........
.####.##..
.#..#.##..
.#.##..#..
.####...#.
...#.#....
##.###....
#.########
"""
MASK = np.array([[letter == "#" for letter in line] for line in PICTURE.split()])


def test_a_picture_by_hand():
    ids, areas = labelled_holes(MASK)
    assert areas.tolist() == [0, 3, 1]  # the one in the ring, and the one below it
    assert ids[2, 2] == ids[2, 3] == ids[3, 2] == 1 and ids[5, 4] == 2
    assert np.count_nonzero(ids) == 4 and not ids[7, 1]  # background that reaches the border is no hole
    _, areas = labelled_fragments(MASK)
    assert sorted(areas[1:].tolist(), reverse=True) == [MASK.sum() - 6, 6] and areas[0] == 0


@pytest.mark.parametrize("seed", range(8))
def test_labels_are_scipy_s(seed):
    mask = np.random.default_rng(seed).random((37, 53)) < 0.6
    filled = ndimage.binary_fill_holes(mask)
    expected, count = ndimage.label(filled & ~mask)
    ids, areas = labelled_holes(mask)
    assert len(areas) - 1 == count and areas.sum() == np.count_nonzero(expected)
    assert sorted(areas[1:].tolist()) == sorted(np.bincount(expected.ravel())[1:].tolist())
    assert np.array_equal(ids > 0, expected > 0)
    assert np.bincount(ids.ravel(), minlength=len(areas))[1:].tolist() == areas[1:].tolist()
    expected, count = ndimage.label(mask, np.ones((3, 3)))
    ids, areas = labelled_fragments(mask)
    assert len(areas) - 1 == count and np.array_equal(ids > 0, mask)
    assert sorted(areas[1:].tolist()) == sorted(np.bincount(expected.ravel())[1:].tolist())


@pytest.mark.parametrize("mask", [np.zeros((4, 5), bool), np.ones((4, 5), bool), np.ones((1, 1), bool)], ids=str)
def test_masks_without_holes(mask):
    ids, areas = labelled_holes(mask)
    assert areas.tolist() == [0] and not ids.any()
    assert len(labelled_fragments(mask)[1]) - 1 == int(mask.any())

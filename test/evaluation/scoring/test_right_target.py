"""One definition of the right target, for boxes and for masks alone."""

import subprocess
import sys

import numpy as np
import pytest

from reasonseg_ros.evaluation.scoring.metrics import score_sample
from reasonseg_ros.evaluation.scoring.right_target import right_target

BOX, OTHER = (8, 8, 24, 24), (40, 30, 60, 44)


def mask_of(*boxes):
    mask = np.zeros((48, 64), bool)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = True
    return mask


@pytest.mark.parametrize(
    ("said", "true", "right"),
    [
        ([], [], True),
        ([BOX], [], False),
        ([], [BOX], False),
        ([BOX, OTHER], [OTHER, BOX], True),
        ([BOX, BOX], [BOX, OTHER], False),
        ([BOX], [BOX, OTHER], False),
        ([BOX, OTHER], [BOX], False),
        # The first box fits both targets; only one pairing gives every target its own.
        ([(0, 0, 20, 10), (0, 0, 10, 10)], [(0, 0, 10, 10), (8, 0, 20, 10)], True),
        ([(8, 8, 24, 13)], [BOX], True),
        ([(8, 8, 24, 12)], [BOX], False),
    ],
)
def test_boxes_are_paired_one_to_one(said, true, right):
    assert right_target(said, true, mask_of(*true)) is right


@pytest.mark.parametrize(
    ("said", "true", "right"),
    [
        ([BOX], [BOX], True),
        ([BOX, OTHER], [BOX, OTHER], True),  # how many things the mask holds is not known
        ([(8, 8, 60, 44)], [BOX, OTHER], True),
        ([OTHER], [BOX, OTHER], False),
        ([], [BOX], False),
        ([BOX], [], False),
        ([], [], True),
    ],
)
def test_without_true_boxes_the_box_around_all_counts_for_boxes_and_masks_alike(said, true, right):
    target = mask_of(*true)
    assert right_target(said, [], target) is right
    assert score_sample(mask_of(*said), target).right_target is right


def test_a_thin_mask_in_the_right_place_means_the_target():
    ring = mask_of(BOX) & ~mask_of((10, 10, 22, 22))
    found = score_sample(ring, mask_of(BOX))
    assert found.iou < 0.5 and found.right_target


def test_an_evaluation_starts_without_scipy():
    """Its import takes longer than the rest of the start, and a single box has no pairs to choose from."""
    program = """
import sys
import reasonseg_ros.evaluation.run
from reasonseg_ros.evaluation.scoring.right_target import paired
assert paired([[0, 0, 4, 4]], [[0, 0, 4, 5]]) and not paired([[0, 0, 4, 4]], [[4, 0, 8, 4]])
assert "scipy" not in sys.modules
assert paired([[0, 0, 4, 4], [8, 8, 9, 9]], [[8, 8, 9, 9], [0, 0, 4, 4]]) and "scipy" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not done.returncode, done.stderr

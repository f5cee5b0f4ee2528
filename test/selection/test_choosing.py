"""The four selections, as pure functions."""

from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.selection.choosing import SELECTIONS, SelectionRule

IOP = np.array([0.9, 0.2, 0.55, 0.7, 0.1, 0.6, 0.95], np.float32)
IOU_SCORES = np.array([0.1, 0.8, 0.5, 0.4, 0.3, 0.2, -0.5], np.float32)


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ("iop", [0, 2, 3, 5, 6]),
        ("top1", [1]),
        ("top1_and_iop", [0, 1, 2, 3, 5, 6]),
        ("top5_iop", [2, 3, 5]),
    ],
)
def test_each_selection_chooses_as_published(selection, chosen):
    assert SelectionRule(selection, 0.5, 0.0).choose(IOP, IOU_SCORES).tolist() == chosen


@pytest.mark.parametrize("selection", SELECTIONS)
def test_nothing_is_chosen_if_no_mask_is_likely_enough_or_there_is_none(selection):
    rule = SelectionRule(selection, 0.5, 0.96)
    assert rule.choose(IOP, IOU_SCORES).tolist() == []
    assert rule.choose(IOP[:0], IOU_SCORES[:0]).tolist() == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"selection": "top9"}, "top9.*expected one of iop, top1"),
        ({"iop_threshold": 1.5}, "iop_threshold = 1.5"),
        ({"none_below": True}, "none_below = True"),
        ({"none_below": "0.4"}, "none_below"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(values, words):
    with pytest.raises(InvalidInput, match=words):
        SelectionRule(**values)

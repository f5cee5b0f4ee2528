"""Strict reading accepts what the dialects' own scoring scripts accept, and fails where they crash."""

from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.reasoner.dialects import parse_answer
from reasonseg_ros.types import Status

SIZE_WH = (640, 480)
SEG_ZERO = '<think>mug</think><answer>{"bbox": [84,84,420,420], "points_1": [200,200], "points_2": [250,250]}</answer>'
REASONER = '<think>mug</think><answer>[{"bbox_2d": [84,84,420,420], "point_2d": [200,200]}]</answer>'
QWEN = '```json\n[{"bbox_2d": [84, 84, 420, 420], "label": "mug"}]\n```'


@pytest.mark.parametrize(
    ("text", "dialect"), [(SEG_ZERO, "seg_zero"), (REASONER, "vision_reasoner"), (QWEN, "qwen2.5-vl")]
)
def test_well_formed_text_is_read_alike_in_both_ways(text: str, dialect: str) -> None:
    strict, tolerant = (parse_answer(text, SIZE_WH, strict=strict) for strict in (True, False))
    assert (strict.status, strict.dialect, strict.error) == (Status.OK, dialect, "")
    np.testing.assert_allclose(strict.groundings[0].box_xyxy, tolerant.groundings[0].box_xyxy)
    np.testing.assert_allclose(strict.groundings[0].points_xy, tolerant.groundings[0].points_xy)


@pytest.mark.parametrize(
    "text",
    [
        SEG_ZERO.replace("mug", "a < b"),
        REASONER.replace("mug", "a < b"),
        SEG_ZERO.replace('"', "'"),
        REASONER.replace('"', "'"),
        SEG_ZERO.replace(', "points_2": [250,250]', ""),
        REASONER.replace(', "point_2d": [200,200]', ""),
        SEG_ZERO.replace("[200,200]", '{"x": 200, "y": 200}'),
        REASONER.replace("</answer>", ""),
        REASONER.replace("84,84,", "84,"),
        REASONER.replace("420,420", "84,84"),
        REASONER.replace("84,84", "NaN,84"),
        REASONER.replace("[84,84,420,420]", '"84"'),
        QWEN.replace("]\n", ""),
        "",
    ],
)
def test_what_the_scripts_stumble_over_is_unparsable(text: str) -> None:
    answer = parse_answer(text, SIZE_WH, strict=True)
    assert answer.status is Status.UNPARSABLE
    assert answer.error


def test_an_empty_list_is_no_target() -> None:
    assert parse_answer("<think>a</think><answer>[]</answer>", SIZE_WH, strict=True).status is Status.NO_TARGET


def test_neither_clipped_nor_checked_for_contradiction() -> None:
    text = REASONER.replace("mug", "there is no mug here").replace("420,420", "1680,420")
    answer = parse_answer(text, SIZE_WH, strict=True)
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, [64, 48, 1280, 240])

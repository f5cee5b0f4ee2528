"""Fields beside a box: the layout of its numbers, and whether the target is present."""

from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.reasoner.rounds import parse_keyframe
from reasonseg_ros.types import Answer, Status

SIZE_WH = (840, 840)
BOX = '"bbox_2d": [84, 84, 420, 420]'


def read(text: str) -> Answer:
    return parse_answer(text, SIZE_WH, dialect="qwen2.5-vl")


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox_xywh": [84, 84, 336, 336]}',
        '{"Box (XYWH)": [84, 84, 336, 336]}',
        '{"box_cxcywh": [252, 252, 336, 336]}',
        '{"bbox_yxyx": [84, 100, 336, 420]}',
        '{"box_2d": [84, 100, 336, 420], "label": "mug"}',
        '{"bbox": [84, 84, 336, 336], "format": "xywh"}',
        '{"bbox": [84, 84, 336, 336], "bbox_format": "COCO"}',
        '{"bbox": [84, 84, 336, 336], "box_format": "[x, y, width, height]"}',
        '{"bbox": [84, 84, 336, 336], "coordinate_order": "[ymin, xmin, ymax, xmax]"}',
    ],
)
def test_a_box_in_another_stated_layout_is_refused_by_name(text: str) -> None:
    answer = read(text)
    assert (answer.status, answer.groundings) == (Status.UNPARSABLE, ())
    assert "expected x1, y1, x2, y2" in answer.error


@pytest.mark.parametrize(
    "text",
    [
        '{"bbox": [84, 84, 420, 420], "format": "xyxy"}',
        '{"bbox_xyxy": [84, 84, 420, 420]}',
        '{"bbox": [84, 84, 420, 420], "format": "[x_min, y_min, x_max, y_max]", "unit": "pixel", "type": "box"}',
        '{"bbox": {"x_min": 84, "y_min": 84, "x_max": 420, "y_max": 420}}',
        '{"box": {"X0": 84, "Y0": 84, "X1": 420, "Y1": 420}}',
        '{"x_min": 84, "y_min": 84, "x_max": 420, "y_max": 420}',
        '{"bbox": {"top_left": [84, 84], "bottom_right": [420, 420]}}',
    ],
)
def test_two_corners_are_read_however_they_are_named(text: str) -> None:
    answer = read(text)
    assert answer.status is Status.OK, answer.error
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, [84, 84, 420, 420])
    assert answer.error == ""


@pytest.mark.parametrize(
    "words",
    [
        '"label": "none"', '"label": "No matching object"', '"name": "not found"', '"label": "N/A"', '"label": "无"',
        '"label": "no red mug in the image"',
        '"found": "False"', '"is_present": "No"', '"exists": "NO."', '"object_found": false', '"Target_Found": 0',
        '"not_found": true', '"absent": "yes"', '"no_target": true', '"is_missing": true', '"match": false',
        '"status": "not_found"', '"answer": "There is no red mug."',
        '"reason": "There is no red mug in the image."', '"thought": "I cannot find any mug."',
        '"explanation": "图中没有杯子"',
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["[{{{box}, {words}}}]", '{{{words}, "objects": [{{{box}}}]}}'])
def test_a_box_beside_words_that_deny_the_target_is_a_contradiction(words: str, text: str) -> None:
    answer = read(text.format(box=BOX, words=words))
    assert (answer.status, answer.groundings) == (Status.CONTRADICTION, ())
    assert "target is absent" in answer.error


@pytest.mark.parametrize(
    "words",
    [
        '"label": "no entry sign"', '"label": "empty cup"', '"label": "the man who is not smoking"',
        '"found": true', '"found": null', '"not_found": false', '"missing": ["handle"]', '"fully_visible": false',
        '"note": "none"', '"occlusion": "none"', '"state": "empty"', '"text": "no smoking"', '"status": "found"',
        '"reason": "There is no other object that holds water."', '"confidence": 0',
    ],
)  # fmt: skip
def test_other_words_deny_nothing(words: str) -> None:
    answer = read(f"[{{{BOX}, {words}}}]")
    assert (answer.status, len(answer.groundings)) == (Status.OK, 1), answer.error


def test_of_a_list_only_objects_that_are_not_denied_are_kept() -> None:
    answer = read(f'[{{{BOX}, "match": true}}, {{"bbox_2d": [1, 2, 30, 40], "match": false}}]')
    assert [grounding.box_xyxy.tolist() for grounding in answer.groundings] == [[84, 84, 420, 420]]
    assert "match: False" in answer.error


@pytest.mark.parametrize("box", ["[0, 0, 0, 0]", "[-1, -1, -1, -1]"])
@pytest.mark.parametrize("words", ['"label": "not found"', '"found": false', '"reason": "There is no mug here."'])
def test_a_box_that_only_fills_a_place_beside_a_denial_is_no_target(box: str, words: str) -> None:
    assert read(f'[{{"bbox_2d": {box}, {words}}}]').status is Status.NO_TARGET


def test_a_box_that_is_a_point_denies_nothing_by_itself() -> None:
    assert read('[{"bbox_2d": [0, 0, 0, 0], "label": "mug"}]').status is Status.UNPARSABLE


RUNAWAYS = [
    '\nuser\nWhere is the bowl?\nassistant\n[{"bbox_2d": [1, 2, 30, 40]}]',
    '<|im_end|>\n<|im_start|>user\nAnd the bowl?<|im_end|>\n<|im_start|>assistant\n[{"bbox_2d": [1, 2, 30, 40]}]',
    "<|endoftext|>Human: There is no mug in the image.",
    "</s><s>[]",
    "<end_of_turn>\nThere is no mug.",
]


@pytest.mark.parametrize("tail", RUNAWAYS)
@pytest.mark.parametrize("cut", [False, True])
def test_what_stands_behind_the_models_own_turn_does_not_count(tail: str, cut: bool) -> None:
    answer = parse_answer(f"[{{{BOX}}}]{tail}", SIZE_WH, dialect="qwen2.5-vl", cut=cut)
    assert [grounding.box_xyxy.tolist() for grounding in answer.groundings] == [[84, 84, 420, 420]]
    assert (answer.status, answer.error) == (Status.OK, "")


def test_a_name_on_its_own_line_ends_no_turn() -> None:
    for name in ("Human", "User", "the user", "human"):
        assert len(read(f"Found:\n{name}:\n[84, 84, 420, 420]").groundings) == 1, name


def test_a_turn_that_begins_with_its_own_token_is_read() -> None:
    assert read(f"<|im_start|>assistant\n[{{{BOX}}}]<|im_end|>").status is Status.OK


def test_the_first_turn_chooses_the_frame() -> None:
    keyframe = parse_keyframe('{"frame_idx": 2}<|im_end|>\n<|im_start|>user\n{"frame_idx": 1}', frames=3)
    assert (keyframe.status, keyframe.index) == (Status.OK, 1)


def test_an_answer_beside_one_that_denies_is_noted() -> None:
    answer = parse_answer(f"<think>a</think><answer>[{{{BOX}}}]</answer><answer>[]</answer>", SIZE_WH)
    assert len(answer.groundings) == 1
    assert "one denies the target" in answer.error

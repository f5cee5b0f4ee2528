"""All known kinds of malformed answers, and the results of parsing them."""

from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.types import Status

SIZE_WH = (640, 480)
BOX = [64, 48, 320, 240]  # 84, 84, 420, 420 of 840x840


def tagged(answer: str, thought: str = "the mug holds coffee") -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"


GOOD = '[{"bbox_2d": [84,84,420,420], "point_2d": [200,200]}]'
LABELLED = '[{"bbox_2d": [84, 84, 420, 420], "label": "mug"}]'

ONE_BOX = {
    "seg_zero as it should be": tagged('{"bbox": [84,84,420,420], "points_1": [200,200], "points_2": [250,250]}'),
    "vision_reasoner as it should be": tagged(GOOD),
    "one object without its list": tagged(GOOD.strip("[]")),
    "less-than sign in the thought": tagged(GOOD, "its width < its height, so <i>this</i>"),
    "tags spoken of in the thought": tagged(GOOD, "the result goes into <answer> tags"),
    "a box tried out in the thought": tagged(GOOD, 'perhaps {"bbox_2d": [1,2,3,4]}'),
    "thought without its opening tag": tagged(GOOD).replace("<think>", ""),
    "thought without its closing tag": tagged(GOOD).replace("</think>", ""),
    "no thought at all": f"<answer>{GOOD}</answer>",
    "no answer tags": f"<think>the mug</think>{GOOD}",
    "capital letters and spaces in tags": f"<Think>the mug</Think>< ANSWER >{GOOD}</ Answer>",
    "code fence inside the tags": tagged(f"```json\n{GOOD}\n```"),
    "words round the list": tagged(f"Here you are: {GOOD} - that is all."),
    "text after the answer": tagged(GOOD) + "\nI hope this helps {friend}.",
    "single quotes": tagged(GOOD.replace('"', "'")),
    "no quotes": tagged(GOOD.replace('"', "")),
    "trailing commas": tagged('[{"bbox_2d": [84,84,420,420,], "point_2d": [200,200],},]'),
    "missing commas": tagged('[{"bbox_2d": [84 84 420 420] "point_2d": [200 200]}]'),
    "missing brace": tagged('[{"bbox_2d": [84,84,420,420], "point_2d": [200,200]]'),
    "missing bracket of the box": tagged('[{"bbox_2d": [84,84,420,420}]'),
    "one bracket too many": tagged('[{"bbox_2d": [84,84,420,420]}]]'),
    "numbers as strings": tagged('[{"bbox_2d": ["84","84","420","420"], "point_2d": ["200","200"]}]'),
    "the box as a string": tagged('[{"bbox_2d": "[84, 84, 420, 420]"}]'),
    "floats": tagged('[{"bbox_2d": [84.0, 8.4e1, 420.0, 420.0]}]'),
    "a tuple": tagged('[{"bbox_2d": (84,84,420,420)}]'),
    "box nested once more": tagged('[{"bbox_2d": [[84,84,420,420]]}]'),
    "corners as pairs": tagged('[{"bbox_2d": [[84,84],[420,420]]}]'),
    "corners as named fields": tagged('[{"bbox": {"x1":84,"y1":84,"x2":420,"y2":420}}]'),
    "corners instead of a box": tagged('[{"x1":84,"y1":84,"x2":420,"y2":420,"label":"mug"}]'),
    "full-width punctuation": tagged(
        "\uff3b\uff5b\u201cbbox_2d\u201d\uff1a\uff3b84\uff0c84\uff0c420\uff0c420\uff3d\uff5d\uff3d"
    ),
    "curly quotes": tagged("[{\u201cbbox_2d\u201d: [84,84,420,420]}]"),
    "JSON in a JSON string": tagged('"[{\\"bbox_2d\\": [84,84,420,420]}]"'),
    "points that come alone": tagged('[{"bbox_2d": [84,84,420,420]}, {"point_2d": [200,200]}]'),
    "numbers that are no box": tagged(
        '{"detections": [{"bbox_2d": [84,84,420,420]}], "image_size": [840,840,3,1], "color": [255,0,0,255]}'
    ),
    "list inside an object": tagged(f'{{"objects": {GOOD}}}'),
    "another name for the box": tagged('[{"bounding_box": [84,84,420,420]}]'),
    "missing points": tagged('{"bbox": [84,84,420,420]}'),
    "null points": tagged('{"bbox": [84,84,420,420], "points_1": null, "points_2": null}'),
    "bare numbers": tagged("[84,84,420,420]"),
    "apostrophe in a label": tagged("[{'bbox_2d': [84,84,420,420], 'label': 'the dog's bowl'}]"),
    "quotes in a label": tagged('[{"bbox_2d": [84,84,420,420], "label": "the "big" mug"}]'),
    "half a surrogate in a label": tagged('[{"bbox_2d": [84,84,420,420], "label": "\\ud800 mug"}]'),
}  # fmt: skip


@pytest.mark.parametrize("text", ONE_BOX.values(), ids=ONE_BOX.keys())
def test_one_box_is_read_however_it_is_written(text: str) -> None:
    answer = parse_answer(text, SIZE_WH)
    assert answer.status is Status.OK, answer.error
    assert len(answer.groundings) == 1
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, BOX, atol=1e-3)
    assert answer.error == ""


FAILED = {
    "nothing at all": ("", Status.UNPARSABLE, "empty"),
    "spaces": (" \n ", Status.UNPARSABLE, "empty"),
    "prose": ("The mug is on the left.", Status.UNPARSABLE, "no box"),
    "empty answer tags": (tagged(""), Status.UNPARSABLE, "answer is empty"),
    "thought without an answer": ("<think>the mug</think>", Status.UNPARSABLE, "no answer after the thought"),
    "three corners": (tagged('[{"bbox_2d": [84,84,420]}]'), Status.UNPARSABLE, "no box of four numbers"),
    "words for corners": (tagged('[{"bbox_2d": ["left","top",3,4]}]'), Status.UNPARSABLE, "no box of four numbers"),
    "null for a corner": (tagged('[{"bbox_2d": [84,84,null,420]}]'), Status.UNPARSABLE, "no box of four numbers"),
    "truth for a corner": (tagged('[{"bbox_2d": [84,84,true,420]}]'), Status.UNPARSABLE, "no box of four numbers"),
    "NaN": (tagged('[{"bbox_2d": [84,84,NaN,420]}]'), Status.UNPARSABLE, "out of any image"),
    "infinity": (tagged('[{"bbox_2d": [84,84,Infinity,420]}]'), Status.UNPARSABLE, "out of any image"),
    "overflow": (tagged('[{"bbox_2d": [84,84,1e999,420]}]'), Status.UNPARSABLE, "out of any image"),
    "a number of 500 digits": (tagged(f"[[84,84,{'9' * 500},420]]"), Status.UNPARSABLE, "out of any image"),
    "swapped corners": (tagged('[{"bbox_2d": [420,420,84,84]}]'), Status.UNPARSABLE, "wrong order"),
    "swapped left and right": (tagged('[{"bbox_2d": [420,84,84,420]}]'), Status.UNPARSABLE, "wrong order"),
    "swapped top and bottom": (tagged("[84,420,420,84]"), Status.UNPARSABLE, "wrong order"),
    "shares of the image": (tagged('[{"bbox_2d": [0.1,0.1,0.5,0.5]}]'), Status.UNPARSABLE, "shares of the image"),
    "the whole image in shares": (tagged('[{"bbox_2d": [0,0,1,1]}]'), Status.UNPARSABLE, "shares of the image"),
    "a name without a box": (tagged('[{"label": "mug"}]'), Status.UNPARSABLE, "no box"),
    "box of something absent": (
        tagged('{"present": false, "bbox_2d": [84,84,420,420]}'), Status.CONTRADICTION, "target is absent",
    ),
    "box, then a denial": (
        f"{GOOD}\nWait, that is a bowl. There is no mug in the image.", Status.CONTRADICTION, "is absent",
    ),
    "open brackets": ("[" * 100_000, Status.UNPARSABLE, "deeper than 32"),
    "closed brackets": ("[" * 100_000 + "]" * 100_000, Status.UNPARSABLE, "deeper than 32"),
    "deep objects": (tagged('{"a":' * 100_000 + "1" + "}" * 100_000), Status.UNPARSABLE, "deeper than 32"),
    "a box in 50 brackets": (tagged("[" * 50 + "84,84,420,420" + "]" * 50), Status.UNPARSABLE, "deeper than 32"),
    "no area": (tagged('[{"bbox_2d": [84,84,84,420]}]'), Status.UNPARSABLE, "no area"),
    "outside the image": (tagged('[{"bbox_2d": [900,900,990,990]}]'), Status.UNPARSABLE, "no pixel"),
    "a point without a box": (tagged('[{"point_2d": [84,84]}]'), Status.UNPARSABLE, "no box in"),
    "cut inside the thought": ("<think>the mug is", Status.TRUNCATED, "max_new_tokens"),
    "cut inside a tag": ("<think>the mug</think><ans", Status.TRUNCATED, "max_new_tokens"),
    "cut after the answer tag": ("<think>the mug</think><answer>", Status.TRUNCATED, "max_new_tokens"),
    "cut inside the box": ('<think>mug</think><answer>[{"bbox_2d": [84,84,42', Status.TRUNCATED, "max_new_tokens"),
    "cut before the box": ('<think>mug</think><answer>[{"bbox_2d"', Status.TRUNCATED, "max_new_tokens"),
    "cut inside a fence": ('```json\n[{"bbox_2d": [84, 84', Status.TRUNCATED, "max_new_tokens"),
    "target absent, yet a box": (tagged(GOOD, "There is no hammer in the image."), Status.CONTRADICTION, "absent"),
    "box far off its point": (
        tagged('[{"bbox_2d": [84,84,120,120], "point_2d": [800,800]}]'), Status.CONTRADICTION, "far off",
    ),
    "box far off both points": (
        tagged('{"bbox": [84,84,120,120], "points_1": [800,800], "points_2": [700,700]}'),
        Status.CONTRADICTION, "far off",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "status", "reason"), FAILED.values(), ids=FAILED.keys())
def test_a_failure_has_its_status_and_reason(text: str, status: Status, reason: str) -> None:
    answer = parse_answer(text, SIZE_WH)
    assert (answer.status, answer.groundings) == (status, ())
    assert reason in answer.error


@pytest.mark.parametrize(
    "text",
    [
        tagged("[]"),
        tagged("null"),
        tagged("None"),
        tagged(" ```json\n[]\n``` "),
        tagged('{"bbox": null}'),
        tagged('{"bbox": [], "points_1": [], "points_2": []}'),
        tagged('[{"bbox_2d": null, "label": "hammer"}]'),
        tagged("There is no hammer in the image."),
        "[]",
        "```json\n[]\n```",
        "There are no hammers in the image.",
        "<answer>[]",  # the closing tag is missing, the answer is complete
        "<think>There is no hammer in the image.</think>",
        tagged('{"object_present": false}'),
        tagged('[{"bbox_2d": "none", "label": "hammer"}]'),
        tagged('[{"label": "none"}]'),
        tagged('{"answer": "no object found"}'),
        '{"reasoning": "the mug is not on the table", "answer": []}',
        '{"image": "a.jpg", "objects": []}',
    ],
)
def test_nothing_fits_is_a_result(text: str) -> None:
    answer = parse_answer(text, SIZE_WH)
    assert (answer.status, answer.error) == (Status.NO_TARGET, "")


def test_good_boxes_are_kept_and_bad_ones_named() -> None:
    text = tagged(
        '[{"bbox_2d": [84,84,420,420], "label": "mug"}, {"bbox_2d": [5,5,5,5]}, {"bbox_2d": [1,2]},'
        ' {"bbox_2d": [84,84,420,420]}, {"bbox_2d": [420,420,840,840], "point_2d": [1,1]}, {"bbox_2d": "?"}]'
    )
    answer = parse_answer(text, SIZE_WH)
    assert [grounding.label for grounding in answer.groundings] == ["mug"]
    for reason in ("[5, 5, 5, 5] has no area", "[1, 2]", "came twice", "far off its points", "'?'"):
        assert reason in answer.error


def test_a_cut_tail_keeps_the_complete_boxes() -> None:
    answer = parse_answer('<think>a</think><answer>[{"bbox_2d": [84,84,420,420], "point_2d": [200', SIZE_WH)
    assert answer.status is Status.OK
    assert len(answer.groundings) == 1
    assert len(answer.groundings[0].points_xy) == 0
    assert "cut off" in answer.error


def test_the_token_limit_makes_prose_truncated() -> None:
    assert parse_answer("The mug is on the", SIZE_WH, cut=True).status is Status.TRUNCATED


def test_boxes_and_points_are_clipped_to_the_image() -> None:
    text = tagged('[{"bbox_2d": [-50,-9,420,2000], "point_2d": [845,400]}]').replace("420", "860")
    answer = parse_answer(text, SIZE_WH)
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, [0, 0, 640, 480])
    np.testing.assert_allclose(answer.groundings[0].points_xy, [[639, 400 * 480 / 840]], rtol=1e-5)


def test_one_stray_point_of_two_is_left_out() -> None:
    answer = parse_answer(tagged('{"bbox":[84,84,420,420],"points_1":[200,200],"points_2":[830,830]}'), SIZE_WH)
    assert answer.status is Status.OK
    assert len(answer.groundings[0].points_xy) == 1
    assert "left out" in answer.error


def test_a_point_just_outside_its_box_is_kept() -> None:
    answer = parse_answer(tagged('[{"bbox_2d": [84,84,420,420], "point_2d": [430,200]}]'), SIZE_WH)
    assert len(answer.groundings[0].points_xy) == 1


def test_of_several_answers_the_first_usable_one_counts() -> None:
    text = f"<think>a</think><answer>?</answer><answer>{GOOD}</answer><answer>[10,10,90,90]</answer>"
    answer = parse_answer(text, SIZE_WH)
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, BOX, atol=1e-3)
    assert "several answers" in answer.error


def test_several_boxes_under_one_key() -> None:
    text = tagged('{"bbox_2d": [[84,84,420,420],[500,500,600,600]], "points": [[200,200],[550,550]]}')
    answer = parse_answer(text, SIZE_WH)
    assert [len(grounding.points_xy) for grounding in answer.groundings] == [1, 1]


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (tagged('{"bbox": [84,84,420,420], "points_1": [200,200], "points_2": [250,250]}'), "seg_zero"),
        (tagged(GOOD), "vision_reasoner"),
        (tagged("[]"), "vision_reasoner"),
        ('```json\n[{"bbox_2d": [84,84,420,420], "label": "mug"}]\n```', "qwen2.5-vl"),
        ("hello", ""),
    ],
)
def test_the_dialect_is_detected_from_the_text(text: str, dialect: str) -> None:
    assert parse_answer(text, SIZE_WH).dialect == dialect


@pytest.mark.parametrize(
    ("dialect", "box"),
    [
        ("qwen2.5-vl", [84 * 640 / 644, 84 * 480 / 476, 420 * 640 / 644, 420 * 480 / 476]),
        ("qwen3-vl", [84 * 0.64, 84 * 0.48, 420 * 0.64, 420 * 0.48]),
        ("vision_reasoner", BOX),
    ],
)
def test_each_dialect_has_its_own_pixels(dialect: str, box: list[float]) -> None:
    answer = parse_answer('[{"bbox_2d": [84,84,420,420], "label": "mug"}]', SIZE_WH, dialect=dialect)
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, box, rtol=1e-5)


def test_the_answer_size_can_be_given() -> None:
    answer = parse_answer(tagged(GOOD), SIZE_WH, answer_wh=(1280, 960))
    np.testing.assert_allclose(answer.groundings[0].box_xyxy, [42, 42, 210, 210])


@pytest.mark.parametrize(("dialect", "mixed"), [("seg_zero", True), ("qwen2.5-vl", True), ("vision_reasoner", False)])
def test_a_mixed_up_checkpoint_is_said(dialect: str, mixed: bool) -> None:
    answer = parse_answer(tagged(GOOD), SIZE_WH, dialect=dialect)
    assert answer.status is Status.OK
    assert answer.dialect == dialect
    assert ("mixed up" in answer.error) == mixed


def test_both_qwen_dialects_pass_for_each_other() -> None:
    assert parse_answer('[{"bbox_2d": [84,84,420,420], "label": "mug"}]', SIZE_WH, dialect="qwen3-vl").error == ""


def test_prose_before_a_bare_list_is_the_thought() -> None:
    answer = parse_answer('It holds coffee.\n```json\n[{"bbox_2d": [84,84,420,420], "label": "mug"}]\n```', SIZE_WH)
    assert answer.thought == "It holds coffee."
    assert answer.groundings[0].label == "mug"


def test_score_is_taken_where_it_is_one() -> None:
    text = tagged('[{"bbox_2d": [1,1,90,90], "score": 0.25}, {"bbox_2d": [1,1,95,95], "score": 7}]')
    assert [grounding.score for grounding in parse_answer(text, SIZE_WH).groundings] == [0.25, 1.0]


@pytest.mark.parametrize("size_wh", [(0, 480), (640, -1)])
def test_a_size_below_one_pixel_is_refused(size_wh: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="at least 1 pixel"):
        parse_answer("", size_wh)


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'french'"):
        parse_answer("", SIZE_WH, dialect="french")


@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(['{"bbox_2d":[84,84,420,420]}'] * 400),
        "[" + ",".join(f'{{"bbox_2d":[{i},84,84,420]}}' for i in range(84, 484)),
        "[" + ",".join(f'{{"bbox_2d":["word {i}"]}}' for i in range(400)),
        '[{"' + "bbox" * 1000 + '": "' + "x" * 1000 + '"}]',
        '[{"bbox_2d": "' + "word " * 1000 + '"}]',
    ],
)
def test_errors_stay_short(text: str) -> None:
    answer = parse_answer(text, SIZE_WH, dialect="qwen3-vl", cut=True)
    assert 0 < len(answer.error) < 500


def test_of_hundreds_of_boxes_the_first_hundred_are_kept_and_it_is_reported() -> None:
    text = "[" + ",".join(f'{{"bbox_2d":[{i},84,{i + 40},420]}}' for i in range(400)) + "]"
    answer = parse_answer(text, (1000, 1000), dialect="qwen3-vl")
    assert len(answer.groundings) == 100 and "more than 100 boxes" in answer.error


def test_a_box_that_reaches_far_out_of_the_image_is_clipped_and_reported() -> None:
    answer = parse_answer('[{"bbox_2d": [300, 200, 1900, 1000]}]', (1920, 1080), dialect="qwen3-vl")
    assert "reaches beyond 1000x1000" in answer.error
    assert parse_answer('[{"bbox_2d": [300, 200, 1010, 1000]}]', (1920, 1080), dialect="qwen3-vl").error == ""


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (f"<think>a</think>{LABELLED}", "qwen2.5-vl"),
        (f"a</think>{LABELLED}", "qwen2.5-vl"),
        ('{"object_name": "mug", "bbox": [84,84,420,420]}', "qwen2.5-vl"),
        (f"<think>a</think>{GOOD}", "vision_reasoner"),
        (tagged(LABELLED), "vision_reasoner"),
        (tagged('{"bbox": [84,84,420,420]}'), "seg_zero"),
    ],
)
def test_a_thinking_model_is_not_taken_for_another_checkpoint(text: str, dialect: str) -> None:
    assert parse_answer(text, SIZE_WH).dialect == dialect


@pytest.mark.parametrize(
    ("box", "is_beyond"),
    [
        ([10, 10, 990, 390], False),
        ([10, 10, 300, 430], True),
        ([10, 10, 1030, 300], False),
        ([10, -30, 300, 300], True),
        ([-30, 10, 300, 300], False),
    ],
)
def test_each_side_has_its_own_slack(box: list[int], is_beyond: bool) -> None:
    answer = parse_answer(tagged(f'[{{"bbox_2d": {box}}}]'), (1000, 400), dialect="qwen2.5-vl", answer_wh=(1000, 400))
    assert answer.status is Status.OK
    assert ("reaches beyond 1000x400" in (answer.error or "")) == is_beyond

"""Both ways to read a text, over one table: tolerant, and as the published scoring scripts read it.

The strict column is what the public scripts of Seg-Zero and VisionReasoner make of the text: boxes and points in pixels
of the image, no item, or an error (they count it as a miss).
"""

from __future__ import annotations

import pytest

from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.types import Answer, Status

SIZE_WH = (1000, 700)  # of 840x840: x by 25/21, y by 5/6
SEG_ZERO, REASONER = "seg_zero", "vision_reasoner"
MIXED_UP = "the text looks like seg_zero, not vision_reasoner: checkpoint and prompt (model card) may be mixed up"
MISS, NONE, CUT, TORN = Status.UNPARSABLE, Status.NO_TARGET, Status.TRUNCATED, Status.CONTRADICTION
BOX = [100, 70, 500, 350]
ONE = [[*BOX, 238, 167, 298, 208]]  # Seg-Zero: a box and two points
TWO = [[*BOX, 238, 167]]  # VisionReasoner: a box and a point

OBJECT = '{"bbox": [84,84,420,420], "points_1": [200,200], "points_2": [250,250]}'
LIST = '[{"bbox_2d": [84,84,420,420], "point_2d": [200,200]}]'


def said(answer: str, thought: str = "the mug") -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"


def zero(old: str = "", new: str = "") -> str:
    return said(OBJECT.replace(old, new))


def reasoner(old: str = "", new: str = "") -> str:
    return said(LIST.replace(old, new))


# name: text, strict, tolerant (None: the same; a number: the number of boxes)
SEG_ZERO_TEXTS = {
    "as it should be": (said(OBJECT), ONE, None),
    "less-than sign in the thought": (said(OBJECT, "a < b"), ONE, None),
    "no thought": (f"<answer>{OBJECT}</answer>", ONE, None),
    "empty thought": (said(OBJECT, ""), ONE, None),
    "no tags at all": (OBJECT, ONE, None),
    "no closing tag": (said(OBJECT).replace("</answer>", ""), ONE, 1),
    "words round the object": (said(f"Here: {OBJECT}. Done."), ONE, None),
    "code fence": (said(f"```json\n{OBJECT}\n```"), ONE, None),
    "another key with bbox": (zero("bbox", "BBox_2d"), ONE, None),
    "other keys with points": (zero("points_1", "points_a").replace("points_2", "Keypoints"), ONE, None),
    "points of one key only": (zero(', "points_2": [250,250]'), MISS, 1),
    "point without s": (zero("points_1", "point_1"), MISS, 1),
    "three points": (zero("}", ', "points_3": [300,300]}'), ONE, 1),
    "numbers as text": (zero("[200,200]", '["200","200"]'), ONE, None),
    "box as numbers in text": (zero("[84,84,420,420]", '["84","84","420","420"]'), ONE, None),
    "fractions are cut before scaling": (zero("[84,84,420,420]", "[84.9,84.9,420.9,420.9]"), ONE, 1),
    "fractions as text": (zero("[200,200]", '["200.5","200"]'), MISS, 1),
    "truth as a number": (zero("[200,200]", "[true,200]"), [[*BOX, 1, 167, 298, 208]], 1),
    "half a pixel goes to the even one": (
        zero("[84,84,420,420]", "[84,3,420,420]"), [[100, 2, 500, 350, *ONE[0][4:]]], 1,
    ),
    "points of three numbers": (zero("[200,200]", "[200,200,1]"), ONE, 1),
    "point of one number": (zero("[200,200]", "[200]"), MISS, 1),
    "box of three numbers": (zero("[84,84,420,420]", "[84,84,420]"), MISS, MISS),
    "box of five numbers": (zero("[84,84,420,420]", "[84,84,420,420,1]"), MISS, MISS),
    "inverted box": (zero("[84,84,420,420]", "[420,420,84,84]"), [[500, 350, 100, 70, *ONE[0][4:]]], MISS),
    "box of no area": (zero("[84,84,420,420]", "[84,84,84,84]"), [[100, 70, 100, 70, *ONE[0][4:]]], MISS),
    "outside the image": (zero("[84,84,420,420]", "[84,84,1680,420]"), [[100, 70, 2000, 350, *ONE[0][4:]]], 1),
    "negative": (zero("[84,84,420,420]", "[-1,84,420,420]"), [[-1, 70, 500, 350, *ONE[0][4:]]], 1),
    "absent, yet a box": (said(OBJECT, "There is no mug here."), ONE, TORN),
    "single quotes": (zero('"', "'"), MISS, 1),
    "trailing comma": (zero("}", ",}"), MISS, 1),
    "object in an object": (said(f'{{"answer": {OBJECT}}}'), MISS, 1),
    "object in a list": (said(f"[{OBJECT}]"), ONE, None),
    "named corners": (zero("[200,200]", '{"x": 200, "y": 200}'), MISS, 1),
    "braces in the thought come first": (said(OBJECT, "the set {a}"), MISS, 1),
    "empty braces are passed over": (said(OBJECT, "the set {}"), ONE, None),
    "two objects: the first": (said(f"{OBJECT}, {OBJECT.replace('420', '630')}"), ONE, 2),
    "repeated box: the last": (zero("}", ', "bbox": [42,42,210,210]}'), [[50, 35, 250, 175, *ONE[0][4:]]], 2),
    "NaN": (zero("[84,84,420,420]", "[NaN,84,420,420]"), MISS, MISS),
    "infinity": (zero("[84,84,420,420]", "[Infinity,84,420,420]"), MISS, MISS),
    "null box with points": (zero("[84,84,420,420]", "null"), MISS, MISS),
    "all null": (said('{"bbox": null, "points_1": null, "points_2": null}'), MISS, NONE),
    "null points": (zero("[200,200]", "null"), MISS, 1),
    "another checkpoint's keys": (said(LIST), MISS, 1),
    "empty list": (said("[]"), MISS, NONE),
    "words": (said("No objects"), MISS, NONE),
    "cut in the box": (said(OBJECT)[:52], MISS, CUT),
    "cut after the box": (said(OBJECT).partition(', "points_1"')[0], MISS, 1),
    "nothing": ("", MISS, MISS),
}  # fmt: skip

REASONER_TEXTS = {
    "as it should be": (said(LIST), TWO, None),
    "two objects": (
        said('[{"bbox_2d": [84,84,420,420], "point_2d": [200,200]}, {"bbox_2d": [42,42,84,84], "point_2d": [63,63]}]'),
        [*TWO, [50, 35, 100, 70, 75, 53]], 2,
    ),
    "less-than sign in the thought": (said(LIST, "a < b"), TWO, None),
    "no thought": (f"<answer>{LIST}</answer>", TWO, None),
    "empty thought": (said(LIST, ""), TWO, None),
    "spaces and lines in the tags": (said(f"\n  {LIST}\n"), TWO, None),
    "no tags": (LIST, MISS, 1),
    "no closing tag": (said(LIST).replace("</answer>", ""), MISS, 1),
    "capital tags": (said(LIST).replace("answer", "Answer"), MISS, 1),
    "words round the list": (said(f"Here: {LIST}"), MISS, 1),
    "code fence": (said(f"```json\n{LIST}\n```"), MISS, 1),
    "two answers: the first": (said(LIST) + said("[]"), TWO, None),
    "a broken answer before": (f"<answer>?</answer>{said(LIST)}", MISS, 1),
    "fractions": (reasoner("[84,84,420,420]", "[84.9,84.9,420,420]"), [[101, 71, 500, 350, 238, 167]], 1),
    "half a pixel goes up": (reasoner("[84,84,420,420]", "[84,3,420,420]"), [[100, 3, 500, 350, 238, 167]], 1),
    "towards zero": (reasoner("[84,84,420,420]", "[-1,-3,420,420]"), [[0, -2, 500, 350, 238, 167]], 1),
    "numbers as text": (reasoner("[200,200]", '["200","200"]'), MISS, 1),
    "truth as a number": (reasoner("[200,200]", "[true,200]"), [[*BOX, 1, 167]], 1),
    "points of three numbers": (reasoner("[200,200]", "[200,200,1]"), TWO, 1),
    "box of five numbers": (reasoner("[84,84,420,420]", "[84,84,420,420,1]"), TWO, MISS),
    "box of three numbers": (reasoner("[84,84,420,420]", "[84,84,420]"), MISS, MISS),
    "inverted box": (reasoner("[84,84,420,420]", "[420,420,84,84]"), [[500, 350, 100, 70, 238, 167]], MISS),
    "box of no area": (reasoner("[84,84,420,420]", "[84,84,84,84]"), [[100, 70, 100, 70, 238, 167]], MISS),
    "outside the image": (reasoner("[84,84,420,420]", "[84,84,1680,420]"), [[100, 70, 2000, 350, 238, 167]], 1),
    "no point": (reasoner(', "point_2d": [200,200]'), MISS, 1),
    "another key": (reasoner("bbox_2d", "bbox"), MISS, 1),
    "further keys": (reasoner("}", ', "label": "mug"}'), TWO, None),
    "one object without its list": (said(LIST.strip("[]")), MISS, 1),
    "single quotes": (reasoner('"', "'"), MISS, 1),
    "a good and a bad object": (reasoner("]}]", ']}, {"bbox_2d": [1,2]}]'), MISS, 1),
    "repeated box: the last": (reasoner("}", ', "bbox_2d": [42,42,210,210]}'), [[50, 35, 250, 175, 238, 167]], 2),
    "NaN": (reasoner("84,84", "NaN,84"), MISS, MISS),
    "infinity": (reasoner("84,84", "1e999,84"), MISS, MISS),
    "NaN that is not needed": (reasoner("[200,200]", "[200,200,NaN]"), TWO, 1),
    "absent, yet a box": (said(LIST, "There is no mug here."), TWO, TORN),
    "empty list": (said("[]"), NONE, None),
    "empty object": (said("{}"), NONE, None),
    "empty string": (said('""'), NONE, MISS),
    "null": (said("null"), MISS, NONE),
    "list of an empty list": (said("[[]]"), MISS, NONE),
    "words": (said("No objects"), MISS, NONE),
    "empty answer": (said(""), MISS, MISS),
    "another checkpoint's keys": (said(OBJECT), MISS, 1),
    "cut": (said(LIST)[:50], MISS, CUT),
    "deep brackets": (said("[" * 100_000), MISS, MISS),
    "nothing": ("", MISS, MISS),
}  # fmt: skip

ROWS = [
    pytest.param(dialect, *row, id=f"{dialect}: {name}")
    for dialect, table in ((SEG_ZERO, SEG_ZERO_TEXTS), (REASONER, REASONER_TEXTS))
    for name, row in table.items()
]


def outcome(answer: Answer) -> Status | list[list[float]]:
    if answer.status is not Status.OK:
        return answer.status
    return [[*one.box_xyxy.tolist(), *one.points_xy.reshape(-1).tolist()] for one in answer.groundings]


@pytest.mark.parametrize(("dialect", "text", "strict", "tolerant"), ROWS)
def test_strict_reads_as_the_published_scripts(dialect, text, strict, tolerant):
    answer = parse_answer(text, SIZE_WH, dialect=dialect, strict=True)
    assert outcome(answer) == strict
    is_reported = strict is MISS or any(not grounding.is_in_order for grounding in answer.groundings)
    assert bool(answer.error.replace(MIXED_UP, "")) == is_reported


@pytest.mark.parametrize(("dialect", "text", "strict", "tolerant"), ROWS)
def test_tolerant_reads_what_was_meant(dialect, text, strict, tolerant):
    answer = parse_answer(text, SIZE_WH, dialect=dialect)
    if isinstance(tolerant, int):
        assert len(answer.groundings) == tolerant, answer.error
    elif tolerant is None and isinstance(strict, list):
        found = outcome(answer)
        assert isinstance(found, list), answer.error
        assert [[round(number) for number in numbers] for numbers in found] == strict
    else:
        assert outcome(answer) == (strict if tolerant is None else tolerant), answer.error
    assert len(answer.error) < 500


def test_the_table_holds_at_least_sixty_texts():
    assert len(ROWS) >= 60 and len(SEG_ZERO_TEXTS) >= 30 and len(REASONER_TEXTS) >= 30


@pytest.mark.parametrize(
    ("text", "thought"),
    [
        (said(LIST, " the mug "), "the mug"),
        (said(LIST, "a < b"), ""),
        (said(LIST, ""), ""),
        (f"<think>a < b <think>the mug</think><answer>{LIST}</answer>", "the mug"),
        (f"the mug</think><answer>{LIST}</answer>", ""),
    ],
)
def test_the_strict_thought_is_what_the_scripts_keep(text, thought):
    assert parse_answer(text, SIZE_WH, dialect=REASONER, strict=True).thought == thought


def test_a_box_that_is_not_in_order_is_reported_with_the_answer():
    answer = parse_answer(reasoner("[84,84,420,420]", "[420,420,84,84]"), SIZE_WH, dialect=REASONER, strict=True)
    assert answer.status is Status.OK and "prompted as written: [[500.0, 350.0, 100.0, 70.0]]" in answer.error


QWEN = '```json\n[{"bbox_2d": [84, 84, 420, 420], "label": "mug"}]\n```'


@pytest.mark.parametrize("dialect", ["qwen2.5-vl", "qwen3-vl"])
@pytest.mark.parametrize("text", [QWEN, QWEN.strip("`json\n"), f"the mug</think>\n\n{QWEN}"])
def test_the_qwen_dialects_want_a_list_of_json(dialect, text):
    strict, tolerant = (parse_answer(text, SIZE_WH, dialect=dialect, strict=strict) for strict in (True, False))
    assert strict.error == "" and outcome(strict) == outcome(tolerant)
    for broken in (text.replace("84, 84", "84"), text.replace('"', "'"), text.replace("420, 420", "84, 84")):
        assert parse_answer(broken, SIZE_WH, dialect=dialect, strict=True).status is MISS


def test_the_dialect_is_found_in_strict_reading_too():
    for text, dialect in ((said(OBJECT), SEG_ZERO), (said(LIST), REASONER), (QWEN, "qwen2.5-vl")):
        assert parse_answer(text, SIZE_WH, strict=True).dialect == dialect


@pytest.mark.parametrize("box", ["[1,2,30]", "[1,2,30,40,50]", "[NaN,2,30,40]", '["1",2,30,40]', "[true,2,30,40]"])
def test_qwens_boxes_have_four_finite_numbers(box: str) -> None:
    answer = parse_answer(f'[{{"bbox_2d": {box}}}]', SIZE_WH, dialect="qwen3-vl", strict=True)
    assert answer.status is Status.UNPARSABLE and "expected four finite numbers" in answer.error

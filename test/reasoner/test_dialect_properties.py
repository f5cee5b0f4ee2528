"""No text makes the parser raise, and its results are valid."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonseg_ros.commands.checkpoints.parse import parse_text
from reasonseg_ros.model_card import DIALECTS
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.types import Status

PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "<", ">", "{", "}", "[", "]", "(", ")", '"', "'", ",", ":", "\\",
    '"bbox_2d"', '"bbox"', '"point_2d"', '"points_1"', '"points_2"', "label", "null", "NaN", "-Infinity", "1e999", "0",
    "12", "840", "-3.5", "there is no mug", "the mug", " ", "\n", "```json", "```", "\ud800", "\x00", "é", "😀",
]  # fmt: skip
pieces = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
texts = st.one_of(st.text(max_size=200), pieces)
sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["bbox_2d", "bbox", "point_2d", "points_1", "label", "score", "x"]), inner)
    ),
    max_leaves=25,
)
answers = values.map(lambda value: f"<think>so</think><answer>{json.dumps(value)}</answer>")
any_text = st.one_of(texts, answers)


@settings(max_examples=200, deadline=None)
@given(any_text, sizes, st.sampled_from(["auto", *DIALECTS]), st.booleans(), st.booleans())
def test_any_text_ends_in_a_sound_answer(
    text: str, size_wh: tuple[int, int], dialect: str, strict: bool, cut: bool
) -> None:
    answer = parse_answer(text, size_wh, dialect=dialect, strict=strict, cut=cut)
    assert (answer.status is Status.OK) == bool(answer.groundings)
    assert answer.status.is_answer or answer.error
    json.dumps([answer.thought, answer.raw_text, answer.error], ensure_ascii=False).encode()
    assert len(answer.error) <= 1000
    for grounding in answer.groundings if not strict else ():
        x1, y1, x2, y2 = grounding.box_xyxy
        assert 0 <= x1 < x2 <= size_wh[0]
        assert 0 <= y1 < y2 <= size_wh[1]
        assert (grounding.points_xy >= 0).all()
        assert (grounding.points_xy <= np.array(size_wh) - 1).all()


@settings(max_examples=100, deadline=None)
@given(any_text)
def test_the_plain_result_is_strict_json(text: str) -> None:
    json.dumps(parse_text(text, (640, 480)), allow_nan=False)


boxes = st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(420, 840), st.integers(420, 840))


@settings(max_examples=100, deadline=None)
@given(st.lists(boxes, min_size=1, max_size=5, unique=True), sizes.filter(lambda size: min(size) > 50))
def test_well_formed_answers_come_back_exactly(listed: list[tuple[int, ...]], size_wh: tuple[int, int]) -> None:
    items = [{"bbox_2d": box, "point_2d": [(box[0] + box[2]) // 2, (box[1] + box[3]) // 2]} for box in listed]
    text = f"<think>all of them</think><answer>{json.dumps(items)}</answer>"
    scale = np.array([size_wh[0] / 840, size_wh[1] / 840] * 2)
    for strict in (False, True):
        answer = parse_answer(text, size_wh, strict=strict)
        assert answer.error == "" or (strict and "x1 < x2" in answer.error)
        found = [grounding.box_xyxy for grounding in answer.groundings]
        # Strict reading rounds to whole pixels.
        np.testing.assert_allclose(found, np.array(listed) * scale, rtol=1e-5, atol=0.51 if strict else 0)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 120))
def test_a_text_cut_anywhere_is_truncated_or_keeps_its_box(length: int) -> None:
    text = '<think>it holds coffee</think><answer>[{"bbox_2d": [84,84,420,420], "point_2d": [200,200]}]</answer>'
    answer = parse_answer(text[:length], (640, 480), cut=True)
    box_is_complete = length > text.index("420]") + 3
    assert answer.status is (Status.OK if box_is_complete else Status.TRUNCATED)


UNITS = [
    "[", "{", "(", '"', "'", "<answer>", "<think>", "</think>", '{"a":', "[1,", "there is no ", '"a"b', "<", " ", "9",
    "<   ", "```", "[]", "{}", "{} ", "}", "[1,1,90,90] ", '{"bbox_2d":[1,1,90,90]},', '{"point_2d":[1,1]},', '"none",',
    "a: [1,1,90,90]\n", "wait ", "\u6ca1\u6709", "\ud800", "\\", "a" , "1.", "no-", "{a:",
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_the_time_grows_no_faster_than_the_text(unit: str, strict: bool) -> None:
    def seconds(characters: int) -> float:
        text = unit * (characters // len(unit))
        start_s = time.process_time()
        parse_answer(text, (640, 480), strict=strict, dialect="seg_zero" if strict else "auto")
        return time.process_time() - start_s

    long_s = seconds(128_000)
    # Linear is 16 times, quadratic 256 times. A busy machine slows single measurements; then a second one counts.
    limit_s = 0.5 if long_s < 0.5 else max(0.5, 80 * min(seconds(8_000), seconds(8_000)))
    assert long_s < limit_s or seconds(128_000) < limit_s


@pytest.mark.parametrize("unit", ["[", '{"bbox_2d":[1,1,90,90],"label":"a"},', "there is no ", "9"])
def test_a_text_of_a_million_characters_is_read_in_seconds(unit: str) -> None:
    start_s = time.process_time()
    answer = parse_answer(unit * (1_000_000 // len(unit)), (640, 480))
    assert time.process_time() - start_s < 15
    assert len(answer.raw_text) <= 200_000 and len(answer.error) < 500

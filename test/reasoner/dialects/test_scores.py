"""Scores in replies, as models write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.reasoner.dialects.scores import parse_score, parse_scores


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<think>it is the cup</think><answer>{"score": 7}</answer>', 7),
        ('<think>not {"score": 2} but more</think><answer>{"score": 8.5}</answer>', 8.5),
        ('```json\n{"Score": "9"}\n```', 9),
        ("{'score': '3/10'}", 3),
        ("<answer>6</answer>", 6),
        ("<answer>6/10</answer>", 6),
        ("<answer>I give it 6 out of 10.</answer>", 6),
        ("The score is 4.", 4),
        ('{"score": 0}', 0),
        ('<think>10 things</think><answer>{"rating": 10}</answer>', 10),
        ("<answer>between 6 and 8</answer>", None),
        ('{"score": 11}', None),
        ('{"score": -1}', None),
        ('{"score": NaN}', None),
        ('{"score": true}', None),
        ("no idea", None),
        ("", None),
    ],
)
def test_one_score(text: str, expected: float | None) -> None:
    assert parse_score(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<answer>{"1": 2, "2": 9, "3": 0}</answer>', [2, 9, 0]),
        ('<think>{"1": 9}</think><answer>{"1": 2, "2": 9}</answer>', [2, 9, None]),
        ('<answer>{"scores": {"1": 2, "2": 9, "3": 4}}</answer>', [2, 9, 4]),
        ('<answer>[{"candidate": 2, "score": 9}, {"candidate": 1, "score": 3}]</answer>', [3, 9, None]),
        ('<answer>{"candidate 1": 2, "candidate 3": 5}</answer>', [2, None, 5]),
        ("<answer>[1, 2, 3]</answer>", [1, 2, 3]),
        ('<answer>{"scores": [1, 2, 3]}</answer>', [1, 2, 3]),
        ("<answer>[1, 2]</answer>", [None, None, None]),
        ("<answer>1: 7\n2: 3\n3: 10</answer>", [7, 3, 10]),
        ("<answer>Candidate 1: 7, candidate 2: 3.5</answer>", [7, 3.5, None]),
        ('<answer>{"0": 5, "4": 5, "2": 12}</answer>', [None, None, None]),
        ("they are all good", [None, None, None]),
    ],
)
def test_several_scores(text: str, expected: list[float | None]) -> None:
    assert parse_scores(text, 3) == expected


@given(st.text(alphabet='{}[]":,.0123456789 score/<>anwerthik-\n', max_size=80), st.integers(0, 8))
def test_any_text_gives_scores_in_range_or_none(text: str, count: int) -> None:
    scores = [parse_score(text), *parse_scores(text, count)]
    assert len(scores) == count + 1
    assert all(score is None or 0 <= score <= 10 for score in scores)

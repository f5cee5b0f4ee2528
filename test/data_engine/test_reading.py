"""What models write, read; what cannot be read says why."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.data_engine.reading import read_caption, read_drafts
from reasonseg_ros.data_engine.rules import Draft
from reasonseg_ros.errors import InvalidInput

ONE = Draft("What is it for?", (1, 2), "For that.")


@pytest.mark.parametrize(
    "text",
    [
        '{"questions": [{"question": "What is it for?", "objects": [1, 2], "answer": "For that."}]}',
        '[{"question": "What is it for?", "objects": [1, 2], "answer": "For that."}]',
        '{"question": "What is it for?", "objects": [1, 2], "answer": "For that."}',
        '```json\n{"questions": [{"question": "What is it for?", "objects": ["1", 2.0], "answer": "For that."}]}\n```',
        '<think>[{"question": "no"}]</think> Yes: '
        '[{"question": "What is it for?", "objects": [1, 2], "answer": "For that."}]',
        '{"note": "five"} {"questions": [{"question": " What is it for? ", "objects": [1, 2], "answer": "For that."}]}',
        "{'questions': [{'question': 'What is it for?', 'objects': [1, 2], 'answer': 'For that.',},],}",
    ],
)
def test_questions_in_any_wrapping(text):
    assert read_drafts(text) == ([ONE], [])


def test_one_number_without_a_list():
    assert read_drafts('[{"question": "q", "objects": 3, "answer": "a"}]')[0] == [Draft("q", (3,), "a")]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('"What is it?"', "expected an object"),
        ('{"objects": [1], "answer": "a"}', "no question"),
        ('{"question": 5, "objects": [1], "answer": "a"}', "no question"),
        ('{"question": "q", "objects": ["the cup"], "answer": "a"}', "give a list of numbers"),
        ('{"question": "q", "objects": [true], "answer": "a"}', "give a list of numbers"),
        ('{"question": "q", "objects": [1.5], "answer": "a"}', "give a list of numbers"),
        ('{"question": "q", "answer": "a"}', "give a list of numbers"),
        ('{"question": "q", "objects": [1]}', "no answer"),
    ],
)
def test_one_entry_that_is_wrong_costs_itself_only(entry, reason):
    good = '{"question": "What is it for?", "objects": [1, 2], "answer": "For that."}'
    drafts, refused = read_drafts(f'{{"questions": [{entry}, {good}]}}')
    assert drafts == [ONE]
    assert reason in refused[0].reasons[0]


@pytest.mark.parametrize("text", ["", "I cannot see the picture.", "[1, 2]", '{"questions": "none"}', "{", "[]"])
def test_no_list_of_questions(text):
    with pytest.raises(InvalidInput, match="no JSON list of questions"):
        read_drafts(text)


def test_captions_and_names():
    caption = read_caption(
        '<think>{"caption": "no"}</think>{"caption": " A desk.\\n Two books. ", "names": {"2": " cup "}}', [2]
    )
    assert (caption.text, caption.names) == ("A desk. Two books.", {2: "cup"})
    assert read_caption('{"caption": "A desk."}', []).names == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"caption": "A desk.", "names": {"1": "cup"}}',
        '{"caption": "A", "names": {"2": ""}}',
        '{"caption": "A", "names": ["x"]}',
    ],
)
def test_a_name_that_is_missing(text):
    with pytest.raises(InvalidInput, match="names no object 2"):
        read_caption(text, [2])


@pytest.mark.parametrize("text", ["A desk.", '{"caption": ""}', '{"caption": 7}', "[]"])
def test_no_caption(text):
    with pytest.raises(InvalidInput, match="no JSON object with a caption"):
        read_caption(text, [])


@given(st.text(max_size=200) | st.text(alphabet='{}[]":,questionanswerobjects1 <>/think', max_size=200))
def test_no_text_ends_in_anything_but_questions_or_a_reason(text):
    with suppress(InvalidInput):
        read_drafts(text)
    with suppress(InvalidInput):
        read_caption(text, [1])

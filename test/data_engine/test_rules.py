"""Each rule, on cases made by hand, and the bounds of each number."""

import numpy as np
import pytest

from reasonseg_ros.data_engine.pictures import ListedObject
from reasonseg_ros.data_engine.rules import (
    Draft,
    Rules,
    answer_fault,
    duplicate_fault,
    faults,
    length_fault,
    name_fault,
    place_fault,
    repeated_answer_fault,
    text_fault,
)
from reasonseg_ros.errors import InvalidInput

MASK = np.ones((4, 4), bool)
OBJECTS = (ListedObject(MASK, "cup", ("mug",)), ListedObject(MASK, "book"), ListedObject(MASK, "cup", ("mug",)))
GOOD = Draft("What keeps tea warm for a while?", (1, 3), "Both hold hot drinks.")


def test_a_good_question_breaks_no_rule():
    assert faults(GOOD, OBJECTS, [], Rules()) == []


@pytest.mark.parametrize("count", [3, 31])
def test_length_beyond_the_bounds(count):
    assert f"it has {count} words; use 4 to 30" == length_fault("word " * count, 4, 30)


@pytest.mark.parametrize("count", [4, 30])
def test_length_at_the_bounds(count):
    assert length_fault("word " * count, 4, 30) == ""


@pytest.mark.parametrize(("question", "name"), [("Which cups are full?", "cup"), ("Which mug is full?", "mug")])
def test_names_and_their_synonyms_are_found(question, name):
    assert f"it says {name!r}" in name_fault(question, OBJECTS)


def test_no_name_no_fault():
    assert name_fault("Which of them is full?", OBJECTS) == ""


def test_places():
    assert "'behind', which is a place" in place_fault("What is behind it all?")
    assert place_fault("What is heavy?") == ""


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((), "no object answers"), ((0,), "object 0 is not"), ((1, 4), "object 4 is not"), ((2, 2), "named twice")],
)
def test_answers_outside_of_the_list(numbers, words):
    assert words in answer_fault(numbers, 3)


def test_answers_of_the_list():
    assert answer_fault((3, 1, 2), 3) == ""


def test_at_most_two_questions_an_answer():
    assert repeated_answer_fault((1, 3), [(3, 1), (1,), (3,)], 2) == ""
    assert "2 questions have the answer 1, 3 already" in repeated_answer_fault((1, 3), [(3, 1), (1, 3)], 2)


@pytest.mark.parametrize(
    ("earlier", "is_duplicate"),
    [
        ("what keeps tea WARM for a while", True),
        ("For a while, what keeps teas warm?", True),
        ("What keeps tea warm?", False),  # three of four words: 0.75
        ("What holds many pages?", False),
    ],
)
def test_duplicates(earlier, is_duplicate):
    assert bool(duplicate_fault(GOOD.question, ["Who?", earlier], 0.8)) is is_duplicate


@pytest.mark.parametrize(
    ("question", "answer", "words"),
    [
        ("What\x1b[31m is it for?", "That.", "U+001B"),
        ("What is it?\nAnd that?", "That.", "several lines"),
        ("What is it for?", "", "the answer is empty"),
        ("What is it for?", " ... ", "the answer is empty"),
        ("What is it for?", "so " * 61, "61 words"),
    ],
)
def test_what_is_no_plain_text(question, answer, words):
    assert words in text_fault(Draft(question, (1,), answer))


def test_all_faults_of_a_question_are_named():
    found = faults(Draft("Left mug", (9,), ""), OBJECTS, [], Rules())
    assert [any(word in fault for fault in found) for word in ("empty", "2 words", "'mug'", "'left'", "object 9")] == [
        True
    ] * 5


@pytest.mark.parametrize(
    "bounds",
    [
        {"least_words": 0},
        {"least_words": 9, "most_words": 8},
        {"most_per_answer": 0},
        {"most_alike": 0},
        {"most_alike": 1.1},
    ],
)
def test_bounds_that_contradict_are_refused(bounds):
    with pytest.raises(InvalidInput, match="expected"):
        Rules(**bounds)

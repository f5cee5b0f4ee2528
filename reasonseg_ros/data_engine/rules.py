"""The rules for questions. Each is a pure function that returns what is wrong, or an empty text.

Two rules are left to people: a question needs this picture, and asks for a property or a use.
Source: the seven rules of LLM-Seg40K, Wang and Ke, "LLM-Seg", CVPR Workshops 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from reasonseg_ros.data_engine.pictures import ListedObject
from reasonseg_ros.data_engine.words import content, found_name, found_place, likeness, words
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.plain_text import check_plain

LONGEST_ANSWER = 60
"""Maximum words of an answer. It becomes the thought of the ground truth."""


@dataclass(frozen=True)
class Draft:
    """A question that the model wrote, the numbers of the objects that answer it, and its answer in words."""

    question: str
    numbers: tuple[int, ...]
    answer: str


@dataclass(frozen=True)
class Rules:
    """The bounds of the rules.

    Attributes:
        least_words, most_words: range of the number of words in a question.
        most_per_answer: maximum questions of a picture with the same answering objects.
        most_alike: share of common words from which two questions of a picture are duplicates, 0 to 1.

    Raises InvalidInput for a value out of range.
    """

    least_words: int = 4
    most_words: int = 30
    most_per_answer: int = 2
    most_alike: float = 0.8

    def __post_init__(self) -> None:
        if not 1 <= self.least_words <= self.most_words:
            raise InvalidInput(f"questions of {self.least_words} to {self.most_words} words; expected 1 or more")
        if self.most_per_answer < 1:
            raise InvalidInput(f"{self.most_per_answer} questions an answer; expected 1 or more")
        if not 0 < self.most_alike <= 1:
            raise InvalidInput(f"likeness of {self.most_alike:g}; expected a number above 0, at most 1")


def text_fault(draft: Draft) -> str:
    """Control characters, several lines, or an answer that is empty or too long."""
    for name, text in (("the question", draft.question), ("the answer", draft.answer)):
        try:
            check_plain(text, name)
        except InvalidInput as error:
            return str(error)
        if "\n" in text.strip():
            return f"{name} has several lines; write it on one"
    count = len(words(draft.answer))
    if not count:
        return "the answer is empty; say in a sentence which objects are meant, and why"
    return f"the answer has {count} words; use at most {LONGEST_ANSWER}" if count > LONGEST_ANSWER else ""


def length_fault(question: str, least_words: int, most_words: int) -> str:
    count = len(words(question))
    if least_words <= count <= most_words:
        return ""
    return f"it has {count} words; use {least_words} to {most_words}"


def name_fault(question: str, objects: Sequence[ListedObject]) -> str:
    """The name of a listed object in the question, in singular or plural, or a synonym of its category."""
    name = found_name(question, (name for one in objects for name in one.names))
    if not name:
        return ""
    return f"it says {name!r}, which names a listed object; describe it by what it is for or what it is like"


def place_fault(question: str) -> str:
    place = found_place(question)
    return f"it says {place!r}, which is a place; leave out where things are" if place else ""


def answer_fault(numbers: Sequence[int], count: int) -> str:
    """No object, a repeated one, or one outside the `count` listed ones."""
    if not numbers:
        return "no object answers it; name at least one number of the list"
    outside = [number for number in numbers if not 1 <= number <= count]
    if outside:
        return f"object {outside[0]} is not in the list; the numbers go from 1 to {count}"
    return "an object is named twice; name each once" if len(set(numbers)) < len(numbers) else ""


def repeated_answer_fault(numbers: Collection[int], earlier: Sequence[Collection[int]], most: int) -> str:
    """Too many questions with the same answer. `earlier` has the answering numbers of the picture's other questions."""
    count = Counter(frozenset(known) for known in earlier)[frozenset(numbers)]
    stated = ", ".join(map(str, sorted(numbers)))
    return f"{count} questions have the answer {stated} already; ask for something else" if count >= most else ""


def duplicate_fault(question: str, earlier: Sequence[str], most_alike: float) -> str:
    """A near copy of one of the picture's other questions, `earlier`. The order of the words does not count."""
    asked = content(question)
    for known in earlier:
        if words(known) == words(question) or likeness(content(known), asked) >= most_alike:
            return f"it is nearly the same as {known!r}; ask something else"
    return ""


def faults(draft: Draft, objects: Sequence[ListedObject], accepted: Sequence[Draft], rules: Rules) -> list[str]:
    """Everything wrong with a draft, given the accepted questions of the picture; empty if it breaks no rule."""
    found = [
        text_fault(draft),
        length_fault(draft.question, rules.least_words, rules.most_words),
        name_fault(draft.question, objects),
        place_fault(draft.question),
        answer_fault(draft.numbers, len(objects)),
        repeated_answer_fault(draft.numbers, [known.numbers for known in accepted], rules.most_per_answer),
        duplicate_fault(draft.question, [known.question for known in accepted], rules.most_alike),
    ]
    return [fault for fault in found if fault]

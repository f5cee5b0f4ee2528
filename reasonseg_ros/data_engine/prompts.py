"""The prompts: first for a caption of the picture, then for questions about its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasonseg_ros.data_engine.pictures import ListedObject
from reasonseg_ros.data_engine.rules import Draft, Rules

VERSION = 1
"""Part of the key of stored replies. Raise it when a prompt changes, so that earlier replies are not reused."""
_CAPTION = """Describe the picture in at most ten sentences: what is there, what it looks like, and what it is
used for. Write only what you can see."""
_NAMING = """The second picture is the same one with outlined, numbered objects. Give each of these numbers the name
that a person would use for the object, one common noun in the singular: {numbers}."""
_CAPTION_FORM = """Answer with JSON and nothing else, for example
{"caption": "A desk with a lamp and two books."}"""
_NAMING_FORM = """Answer with JSON and nothing else, for example
{"caption": "A desk with a lamp and two books.", "names": {"1": "lamp", "2": "book"}}"""
_QUESTIONS = """You write questions for a robot that has to find things by thinking. The first picture is what it sees.
The second is the same picture with outlined, numbered objects.

What the picture shows: {caption}

The objects, by number:
{objects}

Write {count} questions. Keep to these rules:
1. Each question is short, {least} to {most} words.
2. It is answered by one or several of the listed objects, and by all of the listed objects that fit.
3. An object may be asked about even if the description above leaves it out.
4. The question neither names an object of the list nor says where something is.
5. It asks for a property or a use, so that one has to think to find the answer.
6. It can only be answered by looking at this picture; general knowledge alone is not enough.
7. At most {per_answer} questions have the same answer.

With each question give the numbers of all objects that answer it, and one sentence that says why they do."""
_EARLIER = """These questions are written already. Write other ones:
{questions}"""
_REFUSED = """These were refused. Write better ones instead of them:
{questions}"""
_QUESTIONS_FORM = """Answer with JSON and nothing else, in this form:
{"questions": [{"question": "...", "objects": [1], "answer": "..."}]}"""


@dataclass(frozen=True)
class Refused:
    """A text of the model, and the reasons why it cannot be used."""

    text: str
    reasons: tuple[str, ...]


def caption_words(objects: Sequence[ListedObject]) -> str:
    """The prompt for a caption, and for the names of objects that have none."""
    unnamed = [str(number) for number, one in enumerate(objects, 1) if not one.name]
    if not unnamed:
        return f"{_CAPTION}\n\n{_CAPTION_FORM}"
    return f"{_CAPTION}\n\n{_NAMING.format(numbers=', '.join(unnamed))}\n\n{_NAMING_FORM}"


def question_words(
    caption: str,
    objects: Sequence[ListedObject],
    count: int,
    rules: Rules,
    accepted: Sequence[Draft] = (),
    refused: Sequence[Refused] = (),
) -> str:
    """The prompt for `count` questions, with the questions accepted and refused so far."""
    listed = "\n".join(f"{number}: {one.name}" for number, one in enumerate(objects, 1))
    asked = _QUESTIONS.format(
        caption=caption,
        objects=listed,
        count=count,
        least=rules.least_words,
        most=rules.most_words,
        per_answer=rules.most_per_answer,
    )
    parts = [asked]
    if accepted:
        lines = [f"- {one.question} (objects {', '.join(map(str, one.numbers))})" for one in accepted]
        parts.append(_EARLIER.format(questions="\n".join(lines)))
    if refused:
        lines = [f"- {one.text}: {'; '.join(one.reasons)}" for one in refused]
        parts.append(_REFUSED.format(questions="\n".join(lines)))
    return "\n\n".join([*parts, _QUESTIONS_FORM])

"""Parses the model's replies: captions with names, and questions. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.data_engine.prompts import Refused
from reasonseg_ros.data_engine.rules import Draft
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.plain_text import one_line, shortened
from reasonseg_ros.reasoner.dialects.json_text import find_values

LONGEST_CAPTION = 2000
LONGEST_NAME = 60
MOST_SHOWN = 200
_THOUGHT = re.compile(r"^.*</\s*think\s*>", re.DOTALL | re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True)
class Caption:
    """A description of a picture, and the names of its objects by number."""

    text: str
    names: Mapping[int, str]


def read_caption(text: str, unnamed: Collection[int]) -> Caption:
    """The caption in a reply, with a name for each number in `unnamed`. Raises InvalidInput if something is missing."""
    for value in _values(text):
        if isinstance(value, dict) and isinstance(value.get("caption"), str) and value["caption"].strip():
            given = value.get("names")
            names = {} if not isinstance(given, dict) else {_number(key): name for key, name in given.items()}
            missing = [number for number in sorted(unnamed) if not _is_name(names.get(number))]
            if missing:
                raise InvalidInput(f"the caption names no object {missing[0]}; give each number a name")
            kept = {number: one_line(names[number].strip()) for number in unnamed}
            return Caption(shortened(one_line(value["caption"].strip(), LONGEST_CAPTION), LONGEST_CAPTION), kept)
    raise InvalidInput(f"no JSON object with a caption in {_shown(text)}")


def read_drafts(text: str) -> tuple[list[Draft], list[Refused]]:
    """The questions in a reply, and the unusable entries among them. Raises InvalidInput if there is no list."""
    for value in _values(text):
        listed = value.get("questions") if isinstance(value, dict) else value
        if isinstance(listed, dict) and "question" in listed:
            listed = [listed]
        if isinstance(value, dict) and listed is None and "question" in value:
            listed = [value]
        if not isinstance(listed, list) or not any(isinstance(entry, dict) for entry in listed):
            continue
        drafts, refused = [], []
        for entry in listed:
            try:
                drafts.append(_candidate(entry))
            except InvalidInput as error:
                refused.append(Refused(_shown(str(entry)), (str(error),)))
        return drafts, refused
    raise InvalidInput(f"no JSON list of questions in {_shown(text)}")


def _candidate(entry: Any) -> Draft:
    if not isinstance(entry, dict):
        raise InvalidInput('expected an object {"question": ..., "objects": [...], "answer": ...}')
    question, numbers, answer = entry.get("question"), entry.get("objects"), entry.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise InvalidInput("it has no question; write its text")
    if not isinstance(answer, str):
        raise InvalidInput("it has no answer; say in a sentence which objects are meant, and why")
    listed = numbers if isinstance(numbers, list) else [numbers]
    read = [_number(number) for number in listed]
    if None in read:
        raise InvalidInput(f"its objects are {_shown(str(numbers))}; give a list of numbers such as [1, 3]")
    return Draft(question.strip(), tuple(number for number in read if number is not None), answer.strip())


def _number(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 10_000:
        return int(value)
    if isinstance(value, int) and abs(value) < 10_000:
        return value
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value.strip()) else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= LONGEST_NAME


def _values(text: str) -> list[Any]:
    """The outermost JSON values after the thought."""
    return find_values(_THOUGHT.sub("", text))[0]


def _shown(text: str) -> str:
    return repr(one_line(text, MOST_SHOWN))

"""The scores in a model's reply, 0 to 10."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from reasonseg_ros.reasoner.dialects.blocks import final_values
from reasonseg_ros.reasoner.dialects.parsing import own_turn, take_apart

LEAST, MOST = 0.0, 10.0
_NUMBER = re.compile(r"(?<![-\w.])(\d{1,3}(?:\.\d+)?)(?:\s*(?:/|out of)\s*10)?(?![\w/])")
_LABELLED = re.compile(
    r"(?:#|mark|candidate|number)?\s*(\d{1,2})\s*[:=]\s*(\d{1,2}(?:\.\d+)?)(?![\w.]*\d)", re.IGNORECASE
)


def parse_score(text: str) -> float | None:
    """The score in a reply; None if it names no score, or several. Never raises.

    Accepts `{"score": 7}` and the like in the final answer, or else a single number from 0 to 10 in it, as in `7/10`.
    """
    for answer in take_apart(own_turn(text)).answers:
        named = [value for _, value in _named(final_values(answer)) if value is not None]
        numbers = named or [value for match in _NUMBER.finditer(answer) if (value := _valid(match[1])) is not None]
        if len(set(numbers)) == 1:
            return numbers[0]
    return None


def parse_scores(text: str, count: int) -> list[float | None]:
    """The scores of candidates 1 to `count` in a reply, None for those that it does not name. Never raises.

    Accepts `{"1": 7, "2": 0}`, `[{"candidate": 1, "score": 7}, ...]`, a list of `count` numbers, and lines `1: 7`.
    """
    scores: list[float | None] = [None] * count
    for answer in take_apart(own_turn(text)).answers:
        values = final_values(answer)
        found = list(_named(values)) or list(_listed(values, count))
        found = found or [(int(match[1]), _valid(match[2])) for match in _LABELLED.finditer(answer)]
        for number, value in found:
            if number is not None and 1 <= number <= count and value is not None:
                scores[number - 1] = value
    return scores


def _named(value: Any) -> Iterator[tuple[int | None, float | None]]:
    """Pairs of a candidate's number, if there is one, and a score."""
    if isinstance(value, list):
        for entry in value:
            yield from _named(entry)
    if not isinstance(value, dict):
        return
    keyed = {str(key).strip().lower(): entry for key, entry in value.items()}
    score = next((entry for key, entry in keyed.items() if key in ("score", "rating")), None)
    if score is not None:
        number = next((entry for key, entry in keyed.items() if key in ("candidate", "mark", "number", "id")), None)
        yield _whole(number), _valid(score)
        return
    for key, entry in keyed.items():
        yield from _named(entry)
        if (number := _whole(re.sub(r"^\D*", "", key))) is not None and not isinstance(entry, (dict, list)):
            yield number, _valid(entry)


def _listed(values: list[Any], count: int) -> Iterator[tuple[int, float | None]]:
    for value in values:
        if isinstance(value, dict):
            yield from _listed(list(value.values()), count)
        elif isinstance(value, list) and len(value) == count and all(_valid(entry) is not None for entry in value):
            yield from ((number, _valid(entry)) for number, entry in enumerate(value, 1))


def _whole(value: Any) -> int | None:
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


def _valid(value: Any) -> float | None:
    """A number from LEAST to MOST; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(str(value).strip().removesuffix("/10"))
    except ValueError:
        return None
    return number if math.isfinite(number) and LEAST <= number <= MOST else None

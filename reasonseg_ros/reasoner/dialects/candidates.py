"""The objects with boxes or points at any depth of a model's JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from reasonseg_ros.reasoner.dialects.absence import is_denial
from reasonseg_ros.reasoner.dialects.denials import PRESENCE, denial_in
from reasonseg_ros.reasoner.dialects.keys import (
    CORNERS,
    DENIED,
    GIVEN,
    is_box,
    is_label,
    is_point,
    numbers_of,
    plain_keys,
)

_MOST_KEYS = 20
# Keys around other objects, which are not names; keys whose four numbers are not a box.
_STRUCTURE = re.compile(
    r"^(?:objects?|detect\w*|results?|answers?|outputs?|predict\w*|items?|targets?|data|list|response|json|instances?|"
    r"annotations?|coord\w*|regions?|final\w*|grounding\w*|segment\w*|found|image|arguments?|arg|args|param\w*|input|tool\w*|function\w*|\d+)$|box|point"
)
_NO_BOX_KEY = re.compile(
    r"size|shape|resol|width|height|dim|frame|time|colou?r|rgb|score|conf|cent(?:er|re)|prob|version|scale|orig|offset|"
    r"angle|rotation|image|id$"
)


def candidates(value: Any, name: str = "", denied: str = "") -> Iterator[dict[str, Any]]:
    """Every object with a box or points in it, however deep; a bare list of four numbers is an object with a box.

    Args:
        name: the key above the value, if that is a name.
        denied: words around the value that deny the target.
    """
    if isinstance(value, list):
        if _is_four_numbers(value):
            yield _marked({"box": value}, name, denied)
            return
        for item in value:
            yield from candidates(item, name, denied)
    elif isinstance(value, dict):
        keyed = {key.lower().strip(): item for key, item in value.items()}
        denied = denied or denial_in(keyed)
        plain = plain_keys(keyed)
        corners = next((names for names in CORNERS if set(plain) >= set(names)), ())
        if any(is_box(key) or is_point(key) for key in keyed) and not _holds_objects(keyed):
            yield _marked(keyed, name, denied)
        elif corners:
            yield _marked({**keyed, "box": [plain[key] for key in corners]}, name, denied)
        else:
            for key, item in value.items():
                lower = key.lower().strip()
                if not (_is_four_numbers(item) and _NO_BOX_KEY.search(lower)):
                    yield from candidates(item, name if _STRUCTURE.search(lower) else key, denied)


def _is_four_numbers(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > 4 or any(isinstance(item, (list, dict)) for item in value):
        return False
    numbers = numbers_of(value)
    return numbers is not None and len(numbers) == 4


def _is_filler(box: Any) -> bool:
    """Whether a box is one point, such as 0, 0, 0, 0: a placeholder for a missing box."""
    numbers = numbers_of(box)
    return numbers is not None and len(numbers) == 4 and numbers[:2] == numbers[2:]


def _holds_objects(keyed: dict[str, Any]) -> bool:
    """Whether the value of a box key is a list of objects: `{"boxes": [{"bbox_2d": ...}]}`."""
    inner = [item for key, value in keyed.items() if is_box(key) and isinstance(value, list) for item in value]
    return any(isinstance(item, dict) and any(is_box(str(key).lower()) for key in item) for item in inner)


def _marked(candidate: dict[str, Any], name: str, denied: str) -> dict[str, Any]:
    return named({**candidate, DENIED: denied} if denied else candidate, name)


def named(candidate: dict[str, Any], name: str) -> dict[str, Any]:
    """The candidate with the name beside it, if it has none yet."""
    return {**candidate, GIVEN: name} if name and not candidate.get(GIVEN) else candidate


def with_their_points(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The candidates; separate points are joined to the box before them."""
    pending: dict[str, Any] | None = None
    for candidate in found:
        alone = not any(is_box(key) for key in candidate)
        if pending is not None and alone and len(pending) < _MOST_KEYS and any(is_box(key) for key in pending):
            pending = {**pending, **{f"{key} {len(pending)}": value for key, value in candidate.items()}}
            continue
        if pending is not None:
            yield pending
        pending = candidate
    if pending is not None:
        yield pending


def is_bare(candidate: dict[str, Any], boxes: Sequence[list[float]] | None = None) -> bool:
    """Whether a candidate is just four numbers; one of `boxes`, if they are given."""
    return set(candidate) <= {"box", GIVEN} and (boxes is None or numbers_of(candidate["box"]) in boxes)


def is_nothing(value: Any) -> bool:
    """Whether a value says on purpose that there is no target.

    Such values are null, an empty list, a denial such as "none", an object with only such values, and an object that
    denies the target (see `denials`) without a box or with a box that is one point.
    """
    if isinstance(value, list):
        return all(is_nothing(item) for item in value)
    if isinstance(value, str):
        return not value.strip() or (len(value) < 100 and _denies(value))
    if isinstance(value, dict):
        keyed = {key.lower().strip(): item for key, item in value.items()}
        said = [item for key, item in keyed.items() if not is_label(key) and not PRESENCE.search(key)]
        if denial_in(keyed):
            return not any(is_box(key) and not (is_nothing(item) or _is_filler(item)) for key, item in keyed.items())
        # Text beside the answer, or a name alone, is not a denial.
        answers = [item for key, item in keyed.items() if _STRUCTURE.search(key) and isinstance(item, (list, dict))]
        return all(map(is_nothing, answers or said or keyed.values()))
    return value is None


@lru_cache(maxsize=256)
def _denies(words: str) -> bool:
    return is_denial(words)

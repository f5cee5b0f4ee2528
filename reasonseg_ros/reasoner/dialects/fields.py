"""Boxes, points and labels out of the values that a model wrote, checked and brought into source pixels."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from reasonseg_ros.geometry import clip_box, clip_points, scale_xy
from reasonseg_ros.plain_text import one_line, shortened
from reasonseg_ros.reasoner.dialects.absence import is_denial
from reasonseg_ros.types import Grounding

SizeWh = tuple[int, int]
MAX_TARGETS = 100
"""Boxes of one answer that are kept. A model that repeats itself writes hundreds."""
_MOST_KEYS = 20
_HUGE_PX = 1e5  # no camera image is that wide, so it is no coordinate
_BEYOND_SHARE = 0.05
"""A box that reaches further out of the image is reported: its coordinates may be those of another image."""
_NUMERIC = re.compile(r"[\s\[\](),;\d.eE+-]+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"), ("x", "y"))
_GIVEN = "name beside it"
"""The key under which a candidate holds the name that stands beside it, not in it."""
_LABELS = ("label", "name", "object description", "description", "class", "object")
_LABEL_KEY = re.compile(
    r"label|name|descri|class|categor|caption|phrase|expression|entity|noun|^text|title$|^ref|^(?:obj|object|item|type|tag|target|what)s?$"
)
_LABEL_CHARACTERS = 200
# Keys round other objects, which name nothing; keys whose four numbers are no box; keys that say whether it is there.
_STRUCTURE = re.compile(
    r"^(?:objects?|detect\w*|results?|answers?|outputs?|predict\w*|items?|targets?|data|list|response|json|instances?|"
    r"annotations?|coord\w*|regions?|final\w*|grounding\w*|segment\w*|found|image|arguments?|arg|args|param\w*|input|tool\w*|function\w*|\d+)$|box|point"
)
_NO_BOX_KEY = re.compile(
    r"size|shape|resol|width|height|dim|frame|time|colou?r|rgb|score|conf|cent(?:er|re)|prob|version|scale|orig|offset|"
    r"angle|rotation|image|id$"
)
_PRESENCE = re.compile(r"presen|exist|visib|^found$|has_target|is_there")


@dataclass
class Reading:
    """What a list of candidates came to. `contradictory`: a box was dropped because it is far off its points."""

    groundings: list[Grounding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contradictory: bool = False
    boxes: set[bytes] = field(default_factory=set)


def candidates(value: Any, name: str = "") -> Iterator[dict[str, Any]]:
    """Every object with a box or points in it, however deep; a bare list of four numbers is an object with a box.

    `name` is what the value is called by the key that it stands under.
    """
    if isinstance(value, list):
        if _is_four_numbers(value):
            yield named({"box": value}, name)
            return
        for item in value:
            yield from candidates(item, name)
    elif isinstance(value, dict):
        keyed = {key.lower().strip(): item for key, item in value.items()}
        if any(_is_box(key) or _is_point(key) for key in keyed) and not _holds_objects(keyed):
            yield named(keyed, name)
        elif set(keyed) >= set(_CORNERS[0]) or set(keyed) >= set(_CORNERS[1]):
            corners = {key: keyed[key] for names in _CORNERS[:2] for key in names if key in keyed}
            yield named({**keyed, "box": corners}, name)
        else:
            for key, item in value.items():
                plain = key.lower().strip()
                if not (_is_four_numbers(item) and _NO_BOX_KEY.search(plain)):
                    yield from candidates(item, name if _STRUCTURE.search(plain) else key)


def _is_four_numbers(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > 4 or any(isinstance(item, (list, dict)) for item in value):
        return False
    numbers = _numbers(value)
    return numbers is not None and len(numbers) == 4


def _holds_objects(keyed: dict[str, Any]) -> bool:
    """Whether what is called boxes are whole objects: `{"boxes": [{"bbox_2d": ...}]}`."""
    inner = [item for key, value in keyed.items() if _is_box(key) and isinstance(value, list) for item in value]
    return any(isinstance(item, dict) and any(_is_box(str(key).lower()) for key in item) for item in inner)


def named(candidate: dict[str, Any], name: str) -> dict[str, Any]:
    """The candidate with the name that stands beside it, if it has none yet."""
    return {**candidate, _GIVEN: name} if name and not candidate.get(_GIVEN) else candidate


def with_their_points(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The candidates, points that come alone joined to the box before them."""
    pending: dict[str, Any] | None = None
    for candidate in found:
        alone = not any(_is_box(key) for key in candidate)
        if pending is not None and alone and len(pending) < _MOST_KEYS and any(_is_box(key) for key in pending):
            pending = {**pending, **{f"{key} {len(pending)}": value for key, value in candidate.items()}}
            continue
        if pending is not None:
            yield pending
        pending = candidate
    if pending is not None:
        yield pending


def is_bare(candidate: dict[str, Any], boxes: Sequence[list[float]] | None = None) -> bool:
    """Whether a candidate is just four numbers; one of `boxes`, if they are given."""
    return set(candidate) <= {"box", _GIVEN} and (boxes is None or _numbers(candidate["box"]) in boxes)


def is_nothing(value: Any) -> bool:
    """Whether a value says on purpose that there is no target.

    So do null, an empty list, a denial such as "none", only such values under keys, and a presence that is false.
    """
    if isinstance(value, list):
        return all(is_nothing(item) for item in value)
    if isinstance(value, str):
        return not value.strip() or (len(value) < 100 and _denies(value))
    if isinstance(value, dict):
        keyed = {key.lower().strip(): item for key, item in value.items()}
        said = [item for key, item in keyed.items() if not _is_label(key) and not _PRESENCE.search(key)]
        if _is_absent(keyed):
            return not any(_is_box(key) and not is_nothing(item) for key, item in keyed.items())
        # What is said beside the answer, and a name alone, deny nothing.
        answers = [item for key, item in keyed.items() if _STRUCTURE.search(key) and isinstance(item, (list, dict))]
        return all(map(is_nothing, answers or said or keyed.values()))
    return value is None


def _is_absent(keyed: dict[str, Any]) -> bool:
    """Whether an object says under a key such as `present` that it is not there."""
    return any(_PRESENCE.search(key) and item in (False, 0, "no", "false") for key, item in keyed.items())


@lru_cache(maxsize=256)
def _denies(words: str) -> bool:
    return is_denial(words)


def read_groundings(found: list[dict[str, Any]], answer_wh: SizeWh, source_wh: SizeWh) -> Reading:
    """The good boxes in source pixels; each bad one is named in the notes."""
    reading = Reading()
    for candidate in found:
        points = _points(candidate, reading)
        boxes = _boxes(candidate, reading)
        labels = _labels(candidate, len(boxes))
        if boxes and _is_absent(candidate):
            reading.notes.append(f"{_short(candidate)} says that the target is absent, yet has a box")
            reading.contradictory = True
            continue
        for box, label in zip(boxes, labels, strict=True):
            if len(reading.groundings) < MAX_TARGETS:
                _add(reading, box, points, len(boxes) > 1, candidate, label, answer_wh, source_wh)
            else:
                reading.notes.append(f"more than {MAX_TARGETS} boxes; the first {MAX_TARGETS} were kept")
    return reading


def joined_notes(notes: Iterable[str], most_characters: int = 450) -> str:
    """Notes as one short line, each once with how often it came."""
    counted = Counter(note for note in notes if note)
    parts: list[str] = []
    left = 0
    for note, count in counted.items():
        part = shortened(note, 250) + (f" ({count} times)" if count > 1 else "")
        if sum(map(len, parts)) + len(part) > most_characters and parts:
            left += count
        else:
            parts.append(part)
    return "; ".join(parts) + (f"; and {left} more" if left else "")


def _add(
    reading: Reading,
    box: list[float],
    points: list[float],
    shared: bool,
    candidate: dict[str, Any],
    label: str,
    answer_wh: SizeWh,
    source_wh: SizeWh,
) -> None:
    if problem := _problem(box, answer_wh):
        reading.notes.append(f"box {_short(box)} {problem}")
        return
    x1, y1, x2, y2 = scale_xy(box, answer_wh, source_wh).tolist()
    clipped = clip_box([x1, y1, x2, y2], source_wh)
    if clipped is None:
        reading.notes.append(f"box {_short(box)} leaves no pixel in the image of {source_wh[0]}x{source_wh[1]}")
        return
    points_xy = scale_xy(points, answer_wh, source_wh).reshape(-1, 2)
    # A box and a point that mean one object may miss each other a little; half a box away they mean two. Points that
    # several boxes share belong to those they lie in.
    slack_x, slack_y = (0.0, 0.0) if shared else (max(side / 2, max(source_wh) / 50) for side in (x2 - x1, y2 - y1))
    least, most = (x1 - slack_x, y1 - slack_y), (x2 + slack_x, y2 + slack_y)
    near = ((points_xy >= least) & (points_xy <= most)).all(axis=1)
    if not near.all() and not shared:
        if not near.any():
            reading.notes.append(f"box {_short(box)} is far off its points {_short(points)}")
            reading.contradictory = True
            return
        reading.notes.append(f"a point of {_short(points)} is far off its box {_short(box)} and was left out")
    if clipped.tobytes() in reading.boxes:
        reading.notes.append(f"box {_short(box)} came twice")
        return
    reading.boxes.add(clipped.tobytes())
    if _reaches_beyond(box, answer_wh):
        size = f"{answer_wh[0]}x{answer_wh[1]}"
        reading.notes.append(
            f"box {_short(box)} reaches beyond {size} and was clipped; check the card's dialect and size"
        )
    kept = clip_points(points_xy[near], source_wh)
    reading.groundings.append(Grounding(clipped, kept, label=label, score=_score(candidate)))


def _problem(box: list[float], answer_wh: SizeWh) -> str:
    x1, y1, x2, y2 = box
    if x1 == x2 or y1 == y2:
        return "has no area"
    if x2 < x1 or y2 < y1:
        return "has its corners in the wrong order; expected x1 < x2 and y1 < y2"
    if min(box) >= 0 and max(box) <= 1 and min(answer_wh) > 1:
        return "holds shares of the image, not pixels, and leaves no pixel; check the model card's dialect"
    return ""


def _reaches_beyond(box: list[float], answer_wh: SizeWh) -> bool:
    slack_x, slack_y = (_BEYOND_SHARE * side for side in answer_wh)
    x1, y1, x2, y2 = box
    return x1 < -slack_x or y1 < -slack_y or x2 > answer_wh[0] + slack_x or y2 > answer_wh[1] + slack_y


def _boxes(candidate: dict[str, Any], reading: Reading) -> list[list[float]]:
    boxes = []
    keys = [key for key in candidate if _is_box(key)]
    if not keys:
        reading.notes.append(f"no box in {_short(candidate)}")
    for key in keys:
        value = candidate[key]
        if is_nothing(value):
            continue
        listed = isinstance(value, list) and all(isinstance(item, list) and len(item) == 4 for item in value)
        for item in value if listed else [value]:
            numbers = _numbers(item)
            if numbers is None or len(numbers) != 4:
                reading.notes.append(f"{shortened(key, 40)} = {_short(item)} is no box of four numbers")
            elif not all(abs(number) <= _HUGE_PX for number in numbers):
                reading.notes.append(f"{shortened(key, 40)} = {_short(item)} is out of any image")
            else:
                boxes.append(numbers)
    return boxes


def _points(candidate: dict[str, Any], reading: Reading) -> list[float]:
    points: list[float] = []
    for key, value in candidate.items():
        if not _is_point(key) or is_nothing(value):
            continue
        numbers = _numbers(value)
        if numbers is None or len(numbers) % 2 or not all(abs(number) <= _HUGE_PX for number in numbers):
            reading.notes.append(f"{shortened(key, 40)} = {_short(value)} is no point and was left out")
        else:
            points += numbers
    return points


def _numbers(value: Any) -> list[float] | None:
    """All numbers of a value in order; None if there is anything else in it. Infinite and NaN ones stay in it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return [float(value)] if abs(value) < 1e300 else [math.inf]
    if isinstance(value, str):
        return [float(number) for number in _NUMBER.findall(value)] if _NUMERIC.fullmatch(value) else None
    if isinstance(value, dict):
        keyed = {str(key).lower(): item for key, item in value.items()}
        names = next((names for names in _CORNERS if set(names) == set(keyed)), None)
        value = [keyed[name] for name in names] if names else [None]
    if not isinstance(value, list):
        return None
    parts = [_numbers(item) for item in value]
    return None if None in parts else [number for part in parts if part for number in part]


def _is_box(key: str) -> bool:
    return "box" in key.lower() and not _is_label(key)


def _is_point(key: str) -> bool:
    return "point" in key.lower() and not _is_label(key)


def _is_label(key: str) -> bool:
    plain = key.lower()
    marked = plain in _LABELS or plain == _GIVEN or "score" in plain or "conf" in plain
    return marked or "label" in plain or "name" in plain or "descri" in plain


def _labels(candidate: dict[str, Any], count: int) -> list[str]:
    """What each of `count` boxes is called."""
    for value in _label_values(candidate):
        if isinstance(value, list) and len(value) == count and all(isinstance(item, str) for item in value):
            return [one_line(item, _LABEL_CHARACTERS) for item in value]
        if isinstance(value, dict):
            value = next((item for item in _label_values(value) if isinstance(item, str)), "")
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            value = ", ".join(value)
        if isinstance(value, str) and value.strip():
            return [one_line(value, _LABEL_CHARACTERS)] * count
    return [""] * count


def _label_values(candidate: dict[str, Any]) -> Iterator[Any]:
    """Values of keys that name the target, the usual keys first."""
    yield from (candidate[key] for key in _LABELS if key in candidate)
    yield from (value for key, value in candidate.items() if _LABEL_KEY.search(str(key).lower()) and key != _GIVEN)
    yield candidate.get(_GIVEN, "")


def _score(candidate: dict[str, Any]) -> float:
    numbers = _numbers(candidate.get("score", candidate.get("confidence", 1.0)))
    return numbers[0] if numbers and 0 <= numbers[0] <= 1 else 1.0


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return "[" + ", ".join(f"{number:g}" for number in value[:8]) + "]"
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key != _GIVEN}
    return shortened(repr(value), 80)

"""Boxes, points and labels of a model's candidates, checked and converted to source pixels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from reasonseg_ros.geometry import clip_box, clip_points, scale_xy
from reasonseg_ros.plain_text import one_line, shortened
from reasonseg_ros.reasoner.dialects.candidates import is_nothing
from reasonseg_ros.reasoner.dialects.keys import DENIED, GIVEN, LABELS, is_box, is_point, numbers_of, other_layout
from reasonseg_ros.types import Grounding

SizeWh = tuple[int, int]
MAX_TARGETS = 100
"""Maximum boxes of one answer. A model that repeats itself writes hundreds."""
_HUGE_PX = 1e5  # wider than any camera image, so no coordinate
_BEYOND_SHARE = 0.05
"""A box that extends further beyond the image is reported: its coordinates may be for another image size."""
_LABEL_KEY = re.compile(
    r"label|name|descri|class|categor|caption|phrase|expression|entity|noun|^text|title$|^ref|^(?:obj|object|item|type|tag|target|what)s?$"
)
_LABEL_CHARACTERS = 200


@dataclass
class Reading:
    """The result for a list of candidates. `contradictory`: a box was dropped because it is far from its points."""

    groundings: list[Grounding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contradictory: bool = False
    boxes: set[bytes] = field(default_factory=set)


def read_groundings(found: list[dict[str, Any]], answer_wh: SizeWh, source_wh: SizeWh) -> Reading:
    """The usable boxes in source pixels; the notes name each of the others."""
    reading = Reading()
    for candidate in found:
        points = _points(candidate, reading)
        boxes = _boxes(candidate, reading)
        labels = _labels(candidate, len(boxes))
        if boxes and (denied := candidate.get(DENIED)):
            reading.notes.append(f"{_short(candidate)} says that the target is absent ({denied}), yet has a box")
            reading.contradictory = True
            continue
        for box, label in zip(boxes, labels, strict=True):
            if len(reading.groundings) < MAX_TARGETS:
                _add(reading, box, points, len(boxes) > 1, candidate, label, answer_wh, source_wh)
            else:
                reading.notes.append(f"more than {MAX_TARGETS} boxes; the first {MAX_TARGETS} were kept")
    return reading


def joined_notes(notes: Iterable[str], most_characters: int = 450) -> str:
    """Notes as one short line; repeated ones are given once with their number."""
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
    # A box and a point of one object may differ a little; half a box apart they mean two objects. Points that
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
    keys = [key for key in candidate if is_box(key)]
    if not keys:
        reading.notes.append(f"no box in {_short(candidate)}")
    for key in keys:
        value = candidate[key]
        if is_nothing(value):
            continue
        if layout := other_layout(key, candidate):
            reading.notes.append(
                f"{shortened(key, 40)} is stated as {shortened(layout, 40)!r}; expected x1, y1, x2, y2"
            )
            continue
        listed = isinstance(value, list) and all(isinstance(item, list) and len(item) == 4 for item in value)
        for item in value if listed else [value]:
            numbers = numbers_of(item)
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
        if not is_point(key) or is_nothing(value):
            continue
        numbers = numbers_of(value)
        if numbers is None or len(numbers) % 2 or not all(abs(number) <= _HUGE_PX for number in numbers):
            reading.notes.append(f"{shortened(key, 40)} = {_short(value)} is no point and was left out")
        else:
            points += numbers
    return points


def _labels(candidate: dict[str, Any], count: int) -> list[str]:
    """The name of each of `count` boxes."""
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
    yield from (candidate[key] for key in LABELS if key in candidate)
    yield from (value for key, value in candidate.items() if _LABEL_KEY.search(str(key).lower()) and key != GIVEN)
    yield candidate.get(GIVEN, "")


def _score(candidate: dict[str, Any]) -> float:
    numbers = numbers_of(candidate.get("score", candidate.get("confidence", 1.0)))
    return numbers[0] if numbers and 0 <= numbers[0] <= 1 else 1.0


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return "[" + ", ".join(f"{number:g}" for number in value[:8]) + "]"
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key not in (GIVEN, DENIED)}
    return shortened(repr(value), 80)

"""Boxes, points and labels out of the values that a model wrote, checked and brought into source pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reasonseg_ros.geometry import clip_box, clip_points, scale_xy
from reasonseg_ros.types import Grounding

SizeWh = tuple[int, int]
_HUGE_PX = 1e5  # no camera image is that wide, so it is no coordinate
_NUMERIC = re.compile(r"[\s\[\](),;\d.eE+-]+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"), ("x", "y"))
_LABELS = ("label", "name", "object description", "description", "class", "object")
_LABEL_CHARACTERS = 200


@dataclass
class Reading:
    """What a list of candidates came to. `contradictory`: a box was dropped because it is far off its points."""

    groundings: list[Grounding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contradictory: bool = False


def candidates(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a box or points in it, however deep; a bare list of four numbers is an object with a box."""
    if isinstance(value, list):
        numbers = _numbers(value) if not any(isinstance(item, (list, dict)) for item in value) else None
        if numbers is not None and len(numbers) == 4:
            yield {"box": value}
            return
        for item in value:
            yield from candidates(item)
    elif isinstance(value, dict):
        keyed = {key.lower().strip(): item for key, item in value.items()}
        if any(_is_box(key) or _is_point(key) for key in keyed):
            yield keyed
        elif set(keyed) >= set(_CORNERS[0]) or set(keyed) >= set(_CORNERS[1]):
            yield {**keyed, "box": {key: keyed[key] for names in _CORNERS[:2] for key in names if key in keyed}}
        else:
            for item in value.values():
                yield from candidates(item)


def is_nothing(value: Any) -> bool:
    """Whether a value says on purpose that there is no target: null, an empty list, or only null or empty boxes."""
    if isinstance(value, list):
        return all(is_nothing(item) for item in value)
    if isinstance(value, dict):
        return all(is_nothing(item) for key, item in value.items() if not _is_label(key))
    return value is None


def read_groundings(found: list[dict[str, Any]], answer_wh: SizeWh, source_wh: SizeWh) -> Reading:
    """The good boxes in source pixels; each bad one is named in the notes."""
    reading = Reading()
    for candidate in found:
        points = _points(candidate, reading)
        boxes = _boxes(candidate, reading)
        for box in boxes:
            _add(reading, box, points, len(boxes) > 1, candidate, answer_wh, source_wh)
    return reading


def _add(
    reading: Reading,
    box: list[float],
    points: list[float],
    shared: bool,
    candidate: dict[str, Any],
    answer_wh: SizeWh,
    source_wh: SizeWh,
) -> None:
    x1, y1, x2, y2 = scale_xy(box, answer_wh, source_wh).tolist()
    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    clipped = clip_box([x1, y1, x2, y2], source_wh)
    if clipped is None:
        flat, size = x1 == x2 or y1 == y2, f"{source_wh[0]}x{source_wh[1]}"
        reason = "has no area" if flat else f"leaves no pixel in the image of {size}"
        reading.notes.append(f"box {_short(box)} {reason}")
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
    if any(np.array_equal(clipped, other.box_xyxy) for other in reading.groundings):
        reading.notes.append(f"box {_short(box)} came twice")
        return
    kept = clip_points(points_xy[near], source_wh)
    reading.groundings.append(Grounding(clipped, kept, label=_label(candidate), score=_score(candidate)))


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
                reading.notes.append(f"{key} = {_short(item)} is no box of four numbers")
            elif not all(abs(number) <= _HUGE_PX for number in numbers):
                reading.notes.append(f"{key} = {_short(item)} is out of any image")
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
            reading.notes.append(f"{key} = {_short(value)} is no point and was left out")
        else:
            points += numbers
    return points


def _numbers(value: Any) -> list[float] | None:
    """All numbers of a value in order; None where there is anything else in it. Infinite and NaN ones stay in it."""
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
    return "label" in key.lower() or key.lower() in _LABELS or key.lower() in ("score", "confidence")


def _label(candidate: dict[str, Any]) -> str:
    value = next((candidate[key] for key in _LABELS if isinstance(candidate.get(key), str)), "")
    plain = "".join(character if character.isprintable() else " " for character in value)
    return " ".join(plain.split())[:_LABEL_CHARACTERS]


def _score(candidate: dict[str, Any]) -> float:
    numbers = _numbers(candidate.get("score", candidate.get("confidence", 1.0)))
    return numbers[0] if numbers and 0 <= numbers[0] <= 1 else 1.0


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return "[" + ", ".join(f"{number:g}" for number in value[:8]) + "]"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."

"""The meaning of a key that a model wrote, and the numbers under it."""

from __future__ import annotations

import math
import re
from typing import Any

_NUMERIC = re.compile(r"[\s\[\](),;\d.eE+-]+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
CORNERS = (("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))
"""Names of numbers that make a box without a box key. `x_min` and `X-Min` are the same name."""
_NAMED_NUMBERS = (*CORNERS, ("left", "top", "right", "bottom"), ("topleft", "bottomright"), ("x", "y"))
_LAYOUT_KEY = re.compile(r"format|layout|order|convention|mode$|type$|unit")
_OTHER_LAYOUT = re.compile(
    r"c?xc?yw(?:idth)?h|ltwh|lefttopw|yx(?:yx|hw)|y1x1|y0x0|yminxmin|toplefty?x?w|coco|yolo|albument|^box2d$"
)
"""`box_2d` is Gemini's key, whose boxes have y first; models of Qwen write `bbox_2d`."""
GIVEN = "name beside it"
"""The key under which a candidate holds the name that stands beside it, not in it."""
DENIED = "said beside it"
"""The key under which a candidate holds the words by which it, or what is round it, denies the target."""
LABELS = ("label", "name", "object description", "description", "class", "object")


def numbers_of(value: Any) -> list[float] | None:
    """All numbers of a value in order, also infinite ones and NaN; None if there is anything else in it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return [float(value)] if abs(value) < 1e300 else [math.inf]
    if isinstance(value, str):
        return [float(number) for number in _NUMBER.findall(value)] if _NUMERIC.fullmatch(value) else None
    if isinstance(value, dict):
        keyed = plain_keys(value)
        names = next((names for names in _NAMED_NUMBERS if set(names) == set(keyed)), None)
        value = [keyed[name] for name in names] if names else [None]
    if not isinstance(value, list):
        return None
    parts = [numbers_of(item) for item in value]
    return None if None in parts else [number for part in parts if part for number in part]


def plain_keys(keyed: dict[str, Any]) -> dict[str, Any]:
    """The object with keys reduced to lower-case letters and digits."""
    return {_letters(key): item for key, item in keyed.items()}


def other_layout(box_key: str, keyed: dict[str, Any]) -> str:
    """The stated layout of a box, if that is not two corners with x first; else empty.

    It may be part of the box's key (`bbox_xywh`), or the value of a key beside it (`format`).
    """
    stated = [value for key, value in keyed.items() if _LAYOUT_KEY.search(key.lower()) and isinstance(value, str)]
    return next((words for words in (box_key, *stated) if _OTHER_LAYOUT.search(_letters(words))), "")


def _letters(text: Any) -> str:
    return re.sub(r"[^a-z0-9]", "", str(text).lower())


def is_box(key: str) -> bool:
    """Whether the key names a box."""
    return "box" in key.lower() and not is_label(key) and not _LAYOUT_KEY.search(key.lower())


def is_point(key: str) -> bool:
    """Whether the key names points."""
    return "point" in key.lower() and not is_label(key)


def is_label(key: str) -> bool:
    """Whether the key is for the target's name, or for the model's confidence."""
    plain = key.lower()
    marked = plain in LABELS or plain == GIVEN or "score" in plain or "conf" in plain
    return marked or "label" in plain or "name" in plain or "descri" in plain

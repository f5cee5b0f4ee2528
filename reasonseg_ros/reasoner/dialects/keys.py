"""What a key that a model wrote means, and the numbers under it."""

from __future__ import annotations

import math
import re
from typing import Any

_NUMERIC = re.compile(r"[\s\[\](),;\d.eE+-]+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("left", "top", "right", "bottom"), ("x", "y"))
GIVEN = "name beside it"
"""The key under which a candidate holds the name that stands beside it, not in it."""
LABELS = ("label", "name", "object description", "description", "class", "object")
PRESENCE = re.compile(r"presen|exist|visib|^found$|has_target|is_there")
"""Keys that say whether the target is there."""


def is_absent(keyed: dict[str, Any]) -> bool:
    """Whether an object says under a key such as `present` that it is not there."""
    return any(PRESENCE.search(key) and item in (False, 0, "no", "false") for key, item in keyed.items())


def numbers_of(value: Any) -> list[float] | None:
    """All numbers of a value in order; None if there is anything else in it. Infinite and NaN ones stay in it."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return [float(value)] if abs(value) < 1e300 else [math.inf]
    if isinstance(value, str):
        return [float(number) for number in _NUMBER.findall(value)] if _NUMERIC.fullmatch(value) else None
    if isinstance(value, dict):
        keyed = {str(key).lower(): item for key, item in value.items()}
        names = next((names for names in CORNERS if set(names) == set(keyed)), None)
        value = [keyed[name] for name in names] if names else [None]
    if not isinstance(value, list):
        return None
    parts = [numbers_of(item) for item in value]
    return None if None in parts else [number for part in parts if part for number in part]


def is_box(key: str) -> bool:
    """Whether the key names a box."""
    return "box" in key.lower() and not is_label(key)


def is_point(key: str) -> bool:
    """Whether the key names points."""
    return "point" in key.lower() and not is_label(key)


def is_label(key: str) -> bool:
    """Whether the key names what the target is called, or how sure the model is of it."""
    plain = key.lower()
    marked = plain in LABELS or plain == GIVEN or "score" in plain or "conf" in plain
    return marked or "label" in plain or "name" in plain or "descri" in plain

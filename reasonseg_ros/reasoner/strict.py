"""Model text read as its authors' own scoring scripts do: what those stumble over is unparsable here.

Sources: the evaluation scripts of Seg-Zero (first braces without braces inside) and VisionReasoner (the text between
the answer tags as JSON). Both want a thought without `<` in it and every field.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import scale_xy
from reasonseg_ros.types import Answer, Grounding, Status

_THOUGHT = re.compile(r"<think>([^<]+)</think>")
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_BRACES = re.compile(r"\{[^{}]+\}")
_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


def parse_strictly(text: str, source_wh: tuple[int, int], dialect: str, answer_wh: tuple[int, int]) -> Answer:
    """OK, NO_TARGET (an empty list) or UNPARSABLE, nothing else. Coordinates are scaled, not clipped."""
    thought = ""
    try:
        if dialect in ("seg_zero", "vision_reasoner"):
            thought = _first(_THOUGHT, text, "a thought without '<' in <think> tags").strip()
        if dialect == "seg_zero":
            item = json.loads(_first(_BRACES, text, "an object in braces", group=0))
            items = [(item["bbox"], [item["points_1"], item["points_2"]])]
        elif dialect == "vision_reasoner":
            listed = json.loads(_first(_ANSWER, text, "an answer in <answer> tags"))
            items = [(item["bbox_2d"], [item["point_2d"]]) for item in listed]
        else:
            fenced = _FENCED.search(text)
            items = [(item["bbox_2d"], []) for item in json.loads(fenced[1] if fenced else text)]
        groundings = tuple(_grounding(box, points, answer_wh, source_wh) for box, points in items)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = f"not as {dialect} writes it: {type(error).__name__} {str(error)[:200]}"
        return Answer(Status.UNPARSABLE, thought, error=reason)
    return Answer(Status.OK if groundings else Status.NO_TARGET, thought, groundings)


def _first(pattern: re.Pattern[str], text: str, expected: str, group: int = 1) -> str:
    found = pattern.search(text)
    if not found:
        raise InvalidInput(f"expected {expected}")
    return str(found[group])


def _grounding(box: Any, points: list[Any], answer_wh: tuple[int, int], source_wh: tuple[int, int]) -> Grounding:
    numbers = [*box, *(number for point in points for number in point)]
    if len(box) != 4 or any(len(point) != 2 for point in points):
        raise InvalidInput(f"box {box} with points {points}; expected 4 and 2 numbers")
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise InvalidInput(f"box {box} with points {points}; expected finite numbers")
    return Grounding(
        scale_xy(box, answer_wh, source_wh),
        scale_xy(points, answer_wh, source_wh).reshape(-1, 2),
    )

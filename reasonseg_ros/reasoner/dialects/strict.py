"""Parses model text like the published scoring scripts: what they cannot parse is unparsable here.

Seg-Zero parses the first braces without a closing one inside, anywhere in the text, as JSON. It takes the first key
that contains `bbox`, with four entries, and the first two keys that contain `points`. Entries are converted to whole
numbers, text and fractions too, then scaled and rounded.

VisionReasoner parses the content of the first answer tags as JSON. It takes `bbox_2d` and `point_2d` of every item,
scales them, then rounds.

Both ignore numbers beyond those that they need, and accept corners in any order. The thought is the content of think
tags if that has no `<` in it, else empty.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import scale_xy
from reasonseg_ros.plain_text import shortened
from reasonseg_ros.types import Answer, Grounding, Status

_THOUGHT = re.compile(r"<think>([^<]+)</think>")


def parse_strictly(text: str, source_wh: tuple[int, int], dialect: str, answer_wh: tuple[int, int]) -> Answer:
    """OK, NO_TARGET (no item in the answer) or UNPARSABLE, nothing else. Coordinates are not clipped.

    `error` names boxes whose corners are not in order. They are prompted as written.
    """
    found = _THOUGHT.search(text)
    thought = found[1].strip() if found else ""
    factors = source_wh[0] / answer_wh[0], source_wh[1] / answer_wh[1]
    try:
        if dialect == "seg_zero":
            groundings = [_seg_zero(text, factors)]
        elif dialect == "vision_reasoner":
            groundings = _vision_reasoner(text, factors)
        else:
            groundings = [_qwen(item["bbox_2d"], answer_wh, source_wh) for item in json.loads(_qwen_list(text))]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = f"not as {dialect} writes it: {type(error).__name__} {shortened(str(error), 200)}"
        return Answer(Status.UNPARSABLE, thought, error=reason)
    turned = [grounding.box_xyxy.tolist() for grounding in groundings if not grounding.is_in_order]
    note = f"boxes without x1 < x2 and y1 < y2, prompted as written: {turned[:3]}" if turned else ""
    return Answer(Status.OK if groundings else Status.NO_TARGET, thought, tuple(groundings), error=note)


def _seg_zero(text: str, factors: tuple[float, float]) -> Grounding:
    values = json.loads(first_braces(text))
    box_key = next((key for key in values if "bbox" in key.lower()), "")
    if not box_key or len(values[box_key]) != 4:
        raise InvalidInput("expected a key with bbox in its name and four numbers")
    point_keys = [key for key in values if "points" in key.lower()][:2]
    if len(point_keys) < 2:
        raise InvalidInput("expected two keys with points in their names")
    box = [round(int(values[box_key][i]) * factors[i % 2]) for i in range(4)]
    points = [[round(int(values[key][i]) * factors[i]) for i in range(2)] for key in point_keys]
    return Grounding(_floats(box), _floats(points), any_order=True)


def first_braces(text: str) -> str:
    """The text of the object that Seg-Zero reads. Raises InvalidInput without one."""
    start = text.find("{")
    while start >= 0:
        end = text.find("}", start)
        if end < 0:
            break
        if end > start + 1:
            return text[start : end + 1]
        start = text.find("{", start + 1)
    raise InvalidInput("expected an object in braces")


def tagged_answer(text: str) -> str:
    """The content of the first answer tags, which VisionReasoner reads. Raises InvalidInput without them."""
    _, tag, rest = text.partition("<answer>")
    content, end, _ = rest.partition("</answer>")
    if not tag or not end:
        raise InvalidInput("expected an answer in <answer> tags")
    return content.strip()


def _vision_reasoner(text: str, factors: tuple[float, float]) -> list[Grounding]:
    groundings = []
    for item in json.loads(tagged_answer(text)):
        box, point = item["bbox_2d"], item["point_2d"]
        corners = [int(box[i] * factors[i % 2] + 0.5) for i in range(4)]
        groundings.append(
            Grounding(_floats(corners), _floats([[int(point[i] * factors[i] + 0.5) for i in range(2)]]), any_order=True)
        )
    return groundings


def _floats(numbers: list[Any]) -> Any:
    """The numbers, if all fit into float32; larger ones are no coordinates of any image."""
    flat = [number for entry in numbers for number in (entry if isinstance(entry, list) else [entry])]
    if any(abs(number) > 1e30 for number in flat):
        raise InvalidInput("a coordinate is out of any image")
    return numbers


def _qwen_list(text: str) -> str:
    """The fenced list after the thought, or all the text after it. No script is published for this dialect."""
    answer = text.rpartition("</think>")[2]
    _, fence, rest = answer.partition("```")
    return rest.removeprefix("json").partition("```")[0] if fence and "```" in rest else answer


def _qwen(box: Any, answer_wh: tuple[int, int], source_wh: tuple[int, int]) -> Grounding:
    if len(box) != 4 or not all(type(number) in (int, float) and math.isfinite(number) for number in box):
        raise InvalidInput(f"box {box}; expected four finite numbers")
    return Grounding(scale_xy(box, answer_wh, source_wh))

"""The published rewards as pure functions of a text and its targets.

- Seg-Zero (Liu et al., 2025, arXiv:2503.06520) has five parts, each 0 to 1: format of the thought, format of the answer
  (soft: keys that contain `bbox` and `point`; strict: exactly the keys of the prompt), box IoU, box L1, and points.
- VisionReasoner (Liu et al., 2025, arXiv:2505.12081) has four parts, at most 7 together: thought 1, answer 2, accuracy
  3 by Hungarian matching, and no repetition 1. For ablations, the `_only` rewards count one of the three parts of the
  accuracy.

Texts are parsed as in the authors' scripts: Seg-Zero by the first braces, VisionReasoner by the first answer tags. Box
and points are checked separately, and a list with an unreadable item gets no accuracy.

Three rules are added. If nothing fits, an empty list is right and gets the full reward; published data has no such
question. If something fits, an empty list gets nothing for its format, because a model that learns to write `[]` would
otherwise keep most of the reward. A box with its corners in the wrong order has an IoU of 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.reasoner.dialects.strict import first_braces, tagged_answer
from reasonseg_ros.training.reinforcement.boxes import (
    GAINS,
    MAX_L1_PX,
    MAX_OBJECTS,
    MAX_POINTS_PX,
    MIN_IOU,
    in_truth_px,
    inclusive_iou,
    is_inside,
    l1_px,
    matched,
    object_gains,
    paired_distance_px,
)
from reasonseg_ros.training.rows import TRUTH_PX, TrueTarget

_THOUGHT_THEN_ANSWER = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
_MOST_REPEATS = 2
_HUGE_PX = 1e6
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class RewardTruth:
    """The targets, in pixels of the squashed image, and the image size that the text's coordinates refer to."""

    targets: tuple[TrueTarget, ...]
    answer_wh: tuple[int, int] = (TRUTH_PX, TRUTH_PX)

    def __post_init__(self) -> None:
        if min(self.answer_wh) < 1:
            raise InvalidInput(f"answers in an image of {self.answer_wh}; expected sizes of at least 1 pixel")


TextReward = Callable[[str, RewardTruth], float]


def thought_format(text: str, truth: RewardTruth) -> float:
    """1 if the whole text is a thought followed by an answer, each in its tags."""
    return float(is_thought_then_answer(text))


def is_thought_then_answer(text: str) -> bool:
    return bool(_THOUGHT_THEN_ANSWER.fullmatch(text))


def seg_zero_format(text: str, truth: RewardTruth, strict: bool = False) -> float:
    """1 if the answer is an object with a box of four numbers and two points of two numbers."""
    values = _braces(text)
    box = _first(values, "bbox", strict)
    points: list[Any] = [values.get("points_1"), values.get("points_2")] if strict else _all(values, "point")[:2]
    if is_numbers(box, 4) and len(points) == 2 and all(is_numbers(point, 2) for point in points):
        return 1.0
    return _nothing_said(text, truth)


def seg_zero_iou(text: str, truth: RewardTruth, strict: bool = False, soft: bool = False) -> float:
    """1 for an IoU above 0.5; `soft` gives the IoU itself."""
    box, target = _box(text, truth, strict), _one_target(truth)
    if box is None or target is None:
        return _nothing_said(text, truth)
    iou = inclusive_iou(box, target.box_xyxy)
    return iou if soft else float(iou > MIN_IOU)


def seg_zero_l1(text: str, truth: RewardTruth, strict: bool = False, soft: bool = False) -> float:
    """1 for a mean difference of the corners below 10 px; `soft` gives 1 - difference / 840."""
    box, target = _box(text, truth, strict), _one_target(truth)
    if box is None or target is None:
        return _nothing_said(text, truth)
    distance = l1_px(box, target.box_xyxy)
    return max(0.0, 1 - distance / TRUTH_PX) if soft else float(distance < MAX_L1_PX)


def seg_zero_points(text: str, truth: RewardTruth, strict: bool = False) -> float:
    """1 if both points lie in the predicted box and their mean distance to the true ones is below 100 px."""
    box, target, values = _box(text, truth, strict), _one_target(truth), _braces(text)
    points: list[Any] = [values.get("points_1"), values.get("points_2")] if strict else _all(values, "points")[:2]
    if box is None or target is None or len(points) < 2 or not all(is_numbers(point, 2) for point in points):
        return _nothing_said(text, truth)
    said = [in_truth_px(point, truth.answer_wh) for point in points]
    true_xy = target.points_xy if len(target.points_xy) == 2 else target.points_xy * 2
    inside = all(is_inside(point, box) for point in said)
    return float(inside and paired_distance_px(said, true_xy) < MAX_POINTS_PX)


def list_format(text: str, truth: RewardTruth, soft: bool = False) -> float:
    """0 to 2, the mean over the items: 1 for a box of four numbers plus 1 for a point of two.

    `soft` accepts any keys that contain `bbox` and `point` instead of `bbox_2d` and `point_2d`.
    """
    try:
        items = json_value(tagged_answer(text))
    except UNREADABLE:
        return 0.0
    if not isinstance(items, list):
        return 0.0
    if not items:
        return 0.0 if truth.targets else 2.0
    return sum(_item_format(item, soft) for item in items) / len(items)


def list_accuracy(text: str, truth: RewardTruth, soft: bool = False, counted: Sequence[str] = GAINS) -> float:
    """0 to the number of `counted` GAINS: objects and targets are matched by the Hungarian method.

    The sum of the gains is divided by the number of objects or targets, whichever is larger.
    """
    try:
        items = json_value(tagged_answer(text))
        pairs = [(item["bbox_2d"], item["point_2d"]) for item in items]
    except UNREADABLE:
        return 0.0
    if not isinstance(items, list) or not all(is_numbers(box, 4) and is_numbers(point, 2) for box, point in pairs):
        return 0.0
    said = [(in_truth_px(box, truth.answer_wh), in_truth_px(point, truth.answer_wh)) for box, point in pairs]
    said = said[:MAX_OBJECTS]
    targets = truth.targets[:MAX_OBJECTS]
    if not said or not targets:
        return float(len(counted)) if not said and not targets else 0.0
    return matched(object_gains(said, targets, soft, counted))


def no_repetition(text: str, truth: RewardTruth) -> float:
    """0 if at least two sentences (between full stops) repeat earlier ones, or the text is empty; else 1."""
    sentences = [sentence for part in text.split(".") if (sentence := part.strip())]
    return float(bool(sentences) and len(sentences) - len(set(sentences)) < _MOST_REPEATS)


def _seg_zero(strict: bool, soft: bool) -> dict[str, TextReward]:
    return {
        "thought_format": thought_format,
        "answer_format": partial(seg_zero_format, strict=strict),
        "box_iou": partial(seg_zero_iou, strict=strict, soft=soft),
        "box_l1": partial(seg_zero_l1, strict=strict, soft=soft),
        "points": partial(seg_zero_points, strict=strict),
    }


def _vision_reasoner(
    soft_format: bool = False, soft: bool = False, counted: Sequence[str] = GAINS
) -> dict[str, TextReward]:
    return {
        "thought_format": thought_format,
        "answer_format": partial(list_format, soft=soft_format),
        "accuracy": partial(list_accuracy, soft=soft, counted=counted),
        "no_repetition": no_repetition,
    }


REWARDS: Mapping[str, Mapping[str, TextReward]] = {
    "seg_zero": _seg_zero(strict=False, soft=False),
    "seg_zero_strict": _seg_zero(strict=True, soft=False),
    "seg_zero_soft_accuracy": _seg_zero(strict=False, soft=True),
    "vision_reasoner": _vision_reasoner(),
    "vision_reasoner_soft_format": _vision_reasoner(soft_format=True),
    "vision_reasoner_soft_accuracy": _vision_reasoner(soft=True),
    **{f"vision_reasoner_{name}_only": _vision_reasoner(counted=(name,)) for name in GAINS},
}
"""The parts of each reward, by name. The reward is their sum."""


def reward_parts(name: str, text: str, truth: RewardTruth) -> dict[str, float]:
    """The parts of a text's reward.

    Raises InvalidInput for an unknown name, and for a Seg-Zero reward with several targets.
    """
    if name not in REWARDS:
        raise InvalidInput(f"reward {name!r}; expected one of {', '.join(REWARDS)}")
    return {part: reward(text, truth) for part, reward in REWARDS[name].items()}


def json_value(text: str) -> Any:
    """The parsed JSON. Raises one of UNREADABLE."""
    return json.loads(text)


def is_numbers(value: Any, count: int) -> bool:
    """Whether a value is a list of `count` finite numbers of at most a million."""
    is_list = isinstance(value, list) and len(value) == count
    return is_list and all(type(number) in (int, float) and abs(number) <= _HUGE_PX for number in value)


def _item_format(item: Any, soft: bool) -> float:
    if not isinstance(item, dict):
        return 0.0
    found = 0.0
    for exact, word, count in (("bbox_2d", "bbox", 4), ("point_2d", "point", 2)):
        values = [value for key, value in item.items() if (word in key.lower() if soft else key == exact)]
        found += any(is_numbers(value, count) for value in values)
    return found


def _braces(text: str) -> dict[str, Any]:
    """Seg-Zero's object; empty if the text has none."""
    try:
        values = json_value(first_braces(text))
    except UNREADABLE:
        return {}
    return values if isinstance(values, dict) else {}


def _all(values: dict[str, Any], word: str) -> list[Any]:
    return [value for key, value in values.items() if word in key.lower()]


def _first(values: dict[str, Any], word: str, strict: bool) -> Any:
    return values.get(word) if strict else next(iter(_all(values, word)), None)


def _box(text: str, truth: RewardTruth, strict: bool) -> list[float] | None:
    """Seg-Zero's box in pixels of the squashed image; None if it cannot be parsed."""
    box = _first(_braces(text), "bbox", strict)
    return in_truth_px(box, truth.answer_wh) if is_numbers(box, 4) else None


def _one_target(truth: RewardTruth) -> TrueTarget | None:
    if len(truth.targets) > 1:
        raise InvalidInput(
            f"{len(truth.targets)} targets, but the reward is for one; use a vision_reasoner reward, or remove the row"
        )
    return truth.targets[0] if truth.targets else None


def _nothing_said(text: str, truth: RewardTruth) -> float:
    """1 if nothing fits and the answer is an empty list or object."""
    if truth.targets:
        return 0.0
    try:
        return float(json_value(tagged_answer(text)) in ([], {}))
    except UNREADABLE:
        return 0.0

"""ReVSeg's reward of two rounds as pure functions of both texts and the target.

Source: Li et al., "ReVSeg: Incentivizing the Reasoning Chain for Video Segmentation with Reinforcement Learning", 2025,
arXiv:2512.02835. The reward is the sum of

- format, 0 to 1: here one half for each well-formed round (the paper's scale is unknown to us),
- temporal, 0 to 1, if round 1 is well formed: the target's relative size in the chosen keyframe, from 0 for its
  smallest to 1 for its largest box (`revseg`), or 1 if the keyframe shows it (`revseg_visible`),
- spatial, 0 or 1, if both are well formed: whether the box of round 2 has an IoU above 0.5 with the target.

Two rules are added, as in `rewards`. If nothing fits, an empty list in round 1 is right and gets the full reward. If
something fits, an empty list gets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.reasoner.dialects.strict import tagged_answer
from reasonseg_ros.training.reinforcement.boxes import MIN_IOU, in_truth_px, inclusive_iou
from reasonseg_ros.training.reinforcement.rewards import UNREADABLE, is_numbers, is_thought_then_answer, json_value
from reasonseg_ros.training.rows import TRUTH_PX, Box


@dataclass(frozen=True)
class VideoTruth:
    """The target's box in each frame, None where it is not visible, in pixels of the squashed image.

    `answer_wh` is the size whose pixels the text of round 2 uses.
    """

    boxes_xyxy: tuple[Box | None, ...]
    answer_wh: tuple[int, int] = (TRUTH_PX, TRUTH_PX)

    @property
    def is_nothing(self) -> bool:
        return all(box is None for box in self.boxes_xyxy)


@dataclass(frozen=True)
class ChosenFrame:
    """A well-formed answer to round 1: the keyframe, counted from 0, and the target's description."""

    index: int
    description: str


def chosen_frame(text: str, frames: int) -> ChosenFrame | None:
    """The choice of round 1; None if its text does not have exactly the requested format."""
    try:
        (item,) = _items(text)
        number, description = item["frame_idx"], item["object description"]
    except UNREADABLE:
        return None
    is_number = type(number) is int and 1 <= number <= frames
    is_described = isinstance(description, str) and bool(description.strip())
    return ChosenFrame(number - 1, description) if is_number and is_described else None


def says_nothing(text: str) -> bool:
    """Whether round 1 is well formed and answers that nothing fits."""
    try:
        return not _items(text)
    except UNREADABLE:
        return False


def visible(box: Box | None, boxes: tuple[Box | None, ...]) -> float:
    """1 if the target is visible in the keyframe, where its box is `box`."""
    return float(box is not None)


def relative_area(box: Box | None, boxes: tuple[Box | None, ...]) -> float:
    """(area - smallest) / (largest - smallest) over the target's boxes; 1 if all have the same size."""
    if box is None:
        return 0.0
    areas = [_area(each) for each in boxes if each is not None]
    return (_area(box) - min(areas)) / (max(areas) - min(areas)) if max(areas) > min(areas) else 1.0


def no_temporal(box: Box | None, boxes: tuple[Box | None, ...]) -> float:
    """Always 0, as in the paper's ablation."""
    return 0.0


VIDEO_REWARDS: Mapping[str, Callable[[Box | None, tuple[Box | None, ...]], float]] = {
    "revseg": relative_area,
    "revseg_visible": visible,
    "revseg_no_temporal": no_temporal,
}
"""The temporal part of each reward by name."""


def video_reward_parts(name: str, first: str, second: str, truth: VideoTruth) -> dict[str, float]:
    """The parts of the reward for the texts of both rounds. `second` is empty if there was no round 2.

    Raises InvalidInput for an unknown name.
    """
    if name not in VIDEO_REWARDS:
        raise InvalidInput(f"reward {name!r}; expected one of {', '.join(VIDEO_REWARDS)}")
    temporal = VIDEO_REWARDS[name]
    chosen = chosen_frame(first, len(truth.boxes_xyxy))
    if chosen is None:
        earned = float(truth.is_nothing and says_nothing(first))
        most_temporal = 0.0 if temporal is no_temporal else 1.0
        return {"format": earned, "temporal": most_temporal * earned, "spatial": earned}
    box = _box(second, truth.answer_wh)
    true_box = truth.boxes_xyxy[chosen.index]
    is_right = box is not None and true_box is not None and inclusive_iou(box, true_box) > MIN_IOU
    return {
        "format": 0.5 + 0.5 * (box is not None),
        "temporal": temporal(true_box, truth.boxes_xyxy),
        "spatial": float(is_right),
    }


def _items(text: str) -> list[Any]:
    """The list in the answer's tags after a thought. Raises one of UNREADABLE."""
    items = json_value(tagged_answer(text))
    if not isinstance(items, list) or not is_thought_then_answer(text):
        raise ValueError(text)
    return items


def _box(text: str, answer_wh: tuple[int, int]) -> list[float] | None:
    """The single box of round 2 in pixels of the squashed image; None if its text is not well formed."""
    try:
        (item,) = _items(text)
        box = item["bbox_2d"]
    except UNREADABLE:
        return None
    return in_truth_px(box, answer_wh) if is_numbers(box, 4) else None


def _area(box: Box) -> float:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)

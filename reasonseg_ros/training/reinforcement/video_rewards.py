"""ReVSeg's reward of a question about a video: the texts of both rounds against the target in each frame.

Source: Li et al., "ReVSeg: Incentivizing the Reasoning Chain for Video Segmentation with Reinforcement Learning", 2025,
arXiv:2512.02835. The reward is format + [round 1 is readable] temporal + [both are readable] spatial.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.reasoner.dialects.strict import tagged_answer
from reasonseg_ros.reasoner.rounds import parse_keyframe
from reasonseg_ros.training.reinforcement.boxes import MIN_IOU, inclusive_iou
from reasonseg_ros.training.reinforcement.rewards import RewardTruth, thought_format
from reasonseg_ros.training.rows import TRUTH_PX
from reasonseg_ros.types import Status

TEMPORAL = ("visible", "soft")
_NO_TRUTH = RewardTruth(())


@dataclass(frozen=True)
class VideoTruth:
    """The target's inclusive box in each frame that round 1 shows, pixels of the squashed frame; None if hidden."""

    boxes_xyxy: tuple[tuple[float, float, float, float] | None, ...]
    answer_wh: tuple[int, int] = (TRUTH_PX, TRUTH_PX)

    def __post_init__(self) -> None:
        if not any(self.boxes_xyxy):
            raise InvalidInput("the target is in no frame of the video; leave the row out")


def rev_seg_parts(first: str, second: str, truth: VideoTruth, temporal: str = "soft") -> dict[str, float]:
    """Format, temporal and spatial part, each 0 to 1, of the texts of rounds 1 and 2.

    `temporal`: `visible` gives 1 for a keyframe that shows the target; `soft` gives its box area there, from 0 at the
    smallest of the frames that show it to 1 at the largest. Format is 1 if both rounds follow theirs.
    """
    if temporal not in TEMPORAL:
        raise InvalidInput(f"temporal reward {temporal!r}; expected one of {', '.join(TEMPORAL)}")
    well_formed = _is_round_1(first), _second_box(second) is not None and thought_format(second, _NO_TRUTH) == 1
    parts = {"format": float(all(well_formed)), "temporal": 0.0, "spatial": 0.0}
    keyframe = parse_keyframe(first, len(truth.boxes_xyxy))
    if keyframe.status is not Status.OK:
        return parts
    true_box = truth.boxes_xyxy[keyframe.index]
    if true_box is None:
        return parts
    parts["temporal"] = 1.0 if temporal == "visible" else _area_share(truth, keyframe.index)
    box = _second_box(second)
    if box is not None:
        factors = [TRUTH_PX / side for side in truth.answer_wh] * 2
        said = [number * factor for number, factor in zip(box, factors, strict=True)]
        parts["spatial"] = float(inclusive_iou(said, true_box) > MIN_IOU)
    return parts


def _area_share(truth: VideoTruth, index: int) -> float:
    areas = [(x2 - x1 + 1) * (y2 - y1 + 1) for x1, y1, x2, y2 in filter(None, truth.boxes_xyxy)]
    box = truth.boxes_xyxy[index]
    assert box
    area = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
    return (area - min(areas)) / (max(areas) - min(areas)) if max(areas) > min(areas) else 1.0


def _items(text: str) -> list[Any]:
    try:
        items = json.loads(tagged_answer(text))
    except (ValueError, RecursionError):
        return []
    return items if isinstance(items, list) else []


def _is_round_1(text: str) -> bool:
    items = _items(text)
    if len(items) != 1 or not isinstance(items[0], dict) or not thought_format(text, _NO_TRUTH):
        return False
    return type(items[0].get("frame_idx")) is int and isinstance(items[0].get("object description"), str)


def _second_box(text: str) -> list[float] | None:
    items = _items(text)
    box = items[0].get("bbox_2d") if items and isinstance(items[0], dict) else None
    is_box = isinstance(box, list) and len(box) == 4 and all(type(number) in (int, float) for number in box)
    return [float(number) for number in box] if is_box and box else None

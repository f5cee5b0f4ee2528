"""Boxes and points of an answer against a truth, as the published rewards compare them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from reasonseg_ros.training.rows import TRUTH_PX, TrueTarget

MIN_IOU = 0.5
MAX_L1_PX = 10.0
MAX_POINT_PX = 30.0
"""VisionReasoner's bound for the one point of an object."""
MAX_POINTS_PX = 100.0
"""Seg-Zero's bound for the mean distance of its two points."""
GAINS = ("iou", "l1", "point")
"""What an object that is found can earn, at most 1 each."""
MAX_OBJECTS = 120
"""Objects of an answer that count, as published; assigning more takes long."""


def inclusive_iou(a_xyxy: Sequence[float], b_xyxy: Sequence[float]) -> float:
    """Overlap of two boxes whose last pixel belongs to them; 0 for a box with its corners in the wrong order."""
    if min(a_xyxy[2] - a_xyxy[0], a_xyxy[3] - a_xyxy[1], b_xyxy[2] - b_xyxy[0], b_xyxy[3] - b_xyxy[1]) < 0:
        return 0.0
    width = min(a_xyxy[2], b_xyxy[2]) - max(a_xyxy[0], b_xyxy[0]) + 1
    height = min(a_xyxy[3], b_xyxy[3]) - max(a_xyxy[1], b_xyxy[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a_xyxy, b_xyxy)]
    return width * height / (sum(areas) - width * height)


def l1_px(a_xyxy: Sequence[float], b_xyxy: Sequence[float]) -> float:
    """Mean of the four absolute differences."""
    return sum(abs(a - b) for a, b in zip(a_xyxy, b_xyxy, strict=True)) / 4


def is_inside(point_xy: Sequence[float], box_xyxy: Sequence[float]) -> bool:
    return box_xyxy[0] <= point_xy[0] <= box_xyxy[2] and box_xyxy[1] <= point_xy[1] <= box_xyxy[3]


def paired_distance_px(a_xy: Sequence[Sequence[float]], b_xy: Sequence[Sequence[float]]) -> float:
    """Mean distance of two pairs of points, paired so that it is least."""
    straight = math.dist(a_xy[0], b_xy[0]) + math.dist(a_xy[1], b_xy[1])
    crossed = math.dist(a_xy[0], b_xy[1]) + math.dist(a_xy[1], b_xy[0])
    return min(straight, crossed) / 2


def in_truth_px(numbers: Sequence[float], answer_wh: tuple[int, int]) -> list[float]:
    """A box or point (x, y pairs) of an answer in `answer_wh`, in pixels of the truth."""
    return [number * TRUTH_PX / answer_wh[index % 2] for index, number in enumerate(numbers)]


def matched(gains: NDArray[np.float64]) -> float:
    """The largest sum of `gains` [K, N] with each row and column used at most once, divided by max(K, N)."""
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return float(gains[rows, columns].sum() / max(gains.shape))


def object_gains(
    said: Sequence[tuple[list[float], list[float]]],
    targets: Sequence[TrueTarget],
    soft: bool,
    counted: Sequence[str] = GAINS,
) -> NDArray[np.float64]:
    """What each said object is worth as each target, 0 to the number of `counted`. float64 [K, N].

    1 each for IoU > 0.5, L1 < 10 px, and a point inside the own box within 30 px of the true one. `soft` takes the IoU
    itself and 1 - L1 / 840 in place of the first two.
    """
    gains = np.zeros((len(said), len(targets)))
    for row, (box, point) in enumerate(said):
        for column, target in enumerate(targets):
            iou, l1 = inclusive_iou(box, target.box_xyxy), l1_px(box, target.box_xyxy)
            near = math.dist(point, target.points_xy[0]) < MAX_POINT_PX and is_inside(point, box)
            values = {
                "iou": iou if soft else float(iou > MIN_IOU),
                "l1": max(0.0, 1 - l1 / TRUTH_PX) if soft else float(l1 < MAX_L1_PX),
                "point": float(near),
            }
            gains[row, column] = sum(values[name] for name in counted)
    return gains

"""Comparison of an answer's boxes and points with the targets, as in the published rewards."""

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
"""VisionReasoner's maximum distance of an object's point."""
MAX_POINTS_PX = 100.0
"""Seg-Zero's maximum mean distance of its two points."""
GAINS = ("iou", "l1", "point")
"""Parts of the gain of a matched object, at most 1 each."""
MAX_OBJECTS = 120
"""Maximum objects of an answer that count, as published. More would make the assignment slow."""


def inclusive_iou(a_xyxy: Sequence[float], b_xyxy: Sequence[float]) -> float:
    """IoU of two inclusive boxes; 0 if the corners of one are in the wrong order."""
    if min(a_xyxy[2] - a_xyxy[0], a_xyxy[3] - a_xyxy[1], b_xyxy[2] - b_xyxy[0], b_xyxy[3] - b_xyxy[1]) < 0:
        return 0.0
    width = min(a_xyxy[2], b_xyxy[2]) - max(a_xyxy[0], b_xyxy[0]) + 1
    height = min(a_xyxy[3], b_xyxy[3]) - max(a_xyxy[1], b_xyxy[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a_xyxy, b_xyxy)]
    return width * height / (sum(areas) - width * height)


def l1_px(a_xyxy: Sequence[float], b_xyxy: Sequence[float]) -> float:
    """Mean absolute difference of the four coordinates."""
    return sum(abs(a - b) for a, b in zip(a_xyxy, b_xyxy, strict=True)) / 4


def is_inside(point_xy: Sequence[float], box_xyxy: Sequence[float]) -> bool:
    return box_xyxy[0] <= point_xy[0] <= box_xyxy[2] and box_xyxy[1] <= point_xy[1] <= box_xyxy[3]


def paired_distance_px(a_xy: Sequence[Sequence[float]], b_xy: Sequence[Sequence[float]]) -> float:
    """Mean distance of two pairs of points, in the better of the two assignments."""
    straight = math.dist(a_xy[0], b_xy[0]) + math.dist(a_xy[1], b_xy[1])
    crossed = math.dist(a_xy[0], b_xy[1]) + math.dist(a_xy[1], b_xy[0])
    return min(straight, crossed) / 2


def in_truth_px(numbers: Sequence[float], answer_wh: tuple[int, int]) -> list[float]:
    """Convert a box or point (x, y, ...) from an image of `answer_wh` to pixels of the squashed image."""
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
    """The gain of assigning each object of the answer to each target, float64 [K, N], 0 to the number of `counted`.

    It is 1 each for IoU > 0.5, for L1 < 10 px, and for a point that is inside its box and within 30 px of the true one.
    `soft` replaces the first two by the IoU and by 1 - L1 / 840.
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

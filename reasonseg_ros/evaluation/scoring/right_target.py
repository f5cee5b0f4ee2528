"""The definition of `right_target`: whether an answer means the right objects, whatever its masks look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reasonseg_ros.geometry import box_iou, mask_box
from reasonseg_ros.types import BoolMask, FloatArray

Boxes = Sequence[ArrayLike] | FloatArray
"""Boxes x1, y1, x2, y2: a sequence of boxes, or an array [N, 4]."""

MIN_BOX_IOU = 0.3
"""A box means a target if their IoU is above this. How well it fits is measured by other scores."""


def right_target(boxes_xyxy: Boxes, target_boxes_xyxy: Boxes, target: BoolMask) -> bool:
    """Whether predicted boxes mean the targets of a mask bool [H, W]. If the mask is empty, there must be no boxes.

    The boxes must pair up with the targets' boxes. If those are not known, nor the number of targets, the box around
    all predicted ones must mean the tight box of the mask.
    """
    true_box_xyxy = mask_box(target)
    if true_box_xyxy is None:
        return not len(boxes_xyxy)
    if len(target_boxes_xyxy):
        return paired(boxes_xyxy, target_boxes_xyxy)
    return bool(len(boxes_xyxy)) and paired([box_around(boxes_xyxy)], [true_box_xyxy])


def paired(boxes_xyxy: Boxes, target_boxes_xyxy: Boxes) -> bool:
    """Whether all predicted and true boxes can be paired one to one."""
    if len(boxes_xyxy) != len(target_boxes_xyxy):
        return False
    if not len(boxes_xyxy):
        return True
    matches = np.array([[box_iou(box, true) > MIN_BOX_IOU for true in target_boxes_xyxy] for box in boxes_xyxy])
    if matches.size == 1:
        return bool(matches[0, 0])
    from scipy.optimize import linear_sum_assignment  # takes 0.3 s, which most questions do not need

    rows, columns = linear_sum_assignment(matches, maximize=True)
    return bool(matches[rows, columns].all())


def box_around(boxes_xyxy: Boxes) -> FloatArray:
    """The box around all boxes, at least one. float32 [4]."""
    boxes = np.asarray(boxes_xyxy, np.float32)
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])

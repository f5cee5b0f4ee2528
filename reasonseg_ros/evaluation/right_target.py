"""Whether an answer means the right things, whatever its masks look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from reasonseg_ros.geometry import box_iou, mask_box
from reasonseg_ros.types import BoolMask

MIN_BOX_IOU = 0.3
"""A box means a target where they overlap more than this; how well it fits is for the other scores to say."""


def right_target(boxes_xyxy: Sequence[ArrayLike], target_boxes_xyxy: Sequence[ArrayLike], target: BoolMask) -> bool:
    """Whether predicted and true boxes can be paired one to one; no boxes where there is no target.

    A target without boxes of its own counts as one object, in the tight box of its mask.
    """
    true_box = mask_box(target)
    if true_box is None:
        return not len(boxes_xyxy)
    truths = target_boxes_xyxy if len(target_boxes_xyxy) else [true_box]
    if len(boxes_xyxy) != len(truths):
        return False
    matches = np.array([[box_iou(box, truth) > MIN_BOX_IOU for truth in truths] for box in boxes_xyxy])
    rows, columns = linear_sum_assignment(matches, maximize=True)
    return bool(matches[rows, columns].all())

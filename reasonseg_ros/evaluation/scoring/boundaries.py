"""Agreement of two masks along their outlines: boundary IoU and the boundary F-measure."""

from __future__ import annotations

import math

import cv2
import numpy as np

from reasonseg_ros.geometry import mask_box, mask_iou
from reasonseg_ros.types import BoolMask, FloatArray

BOUNDARY_SHARE = 0.02
"""Width of the band that boundary IoU compares, as a share of the image's diagonal."""
OUTLINE_SHARE = 0.008
"""Distance at which two outlines still match, as a share of the image's diagonal."""


def diagonal_px(mask: BoolMask) -> float:
    return math.hypot(*mask.shape)


def outline_tolerance_px(mask: BoolMask) -> int:
    return math.ceil(OUTLINE_SHARE * diagonal_px(mask))


def boundary_iou(a: BoolMask, b: BoolMask) -> float:
    """IoU of the bands inside the outlines of two masks bool [H, W]; 1 where both are empty.

    The band holds the pixels that erosion by round(0.02 x diagonal) pixels (at least 1) removes. The image's border
    counts as outline. Source: Cheng et al., "Boundary IoU", CVPR 2021.
    """
    width_px = max(1, round(BOUNDARY_SHARE * diagonal_px(a)))
    a, b = _cropped(a, b)
    return mask_iou(_band(a, width_px), _band(b, width_px))


def boundary_f(prediction: BoolMask, target: BoolMask) -> float:
    """F-measure of the outline pixels of `prediction` that lie near the outline of `target`, and the reverse.

    Near means within ceil(0.008 x diagonal) pixels. The value is 1 if neither mask has an outline, and 0 if only one
    has. A mask that fills the image has none. Source: DAVIS, Perazzi et al., CVPR 2016.
    """
    tolerance_px = outline_tolerance_px(target)
    prediction, target = _cropped(prediction, target)
    predicted, true = _outline(prediction), _outline(target)
    predicted_px, true_px = np.count_nonzero(predicted), np.count_nonzero(true)
    if not predicted_px or not true_px:
        return float(predicted_px == true_px)
    precision = np.count_nonzero(predicted & near(true, tolerance_px)) / predicted_px
    recall = np.count_nonzero(true & near(predicted, tolerance_px)) / true_px
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def near(mask: BoolMask, distance_px: int) -> BoolMask:
    """Pixels at most `distance_px` from a pixel of the mask: dilation by a disk."""
    close = np.zeros_like(mask)
    box_xyxy = mask_box(mask)
    if box_xyxy is None:
        return close
    x1, y1 = np.clip(box_xyxy[:2].astype(int) - distance_px, 0, None)
    x2, y2 = box_xyxy[2:].astype(int) + distance_px
    outside = (~mask[y1:y2, x1:x2]).astype(np.uint8)
    # A distance transform costs the same for every radius; a dilation by a large disk does not.
    distances: FloatArray = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    close[y1:y2, x1:x2] = distances <= distance_px + 1e-3
    return close


def _cropped(a: BoolMask, b: BoolMask) -> tuple[BoolMask, BoolMask]:
    """Both masks cut to their common box and one pixel around it, which changes neither measure."""
    box = mask_box(a | b)
    if box is None:
        return a[:1, :1], b[:1, :1]
    x1, y1, x2, y2 = box.astype(int)
    window = slice(max(0, y1 - 1), y2 + 1), slice(max(0, x1 - 1), x2 + 1)
    return a[window], b[window]


def _band(mask: BoolMask, width_px: int) -> BoolMask:
    if not mask.size:
        return mask
    padded = np.pad(mask, 1).astype(np.uint8)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width_px)[1:-1, 1:-1]
    band: BoolMask = mask & (eroded == 0)
    return band


def _outline(mask: BoolMask) -> BoolMask:
    """Pixels that differ from their right, lower or lower right neighbour. The image's border is not an outline."""
    after = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    outline: BoolMask = (mask != after[:-1, 1:]) | (mask != after[1:, :-1]) | (mask != after[1:, 1:])
    return outline

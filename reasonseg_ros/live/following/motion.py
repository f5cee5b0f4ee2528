"""Moves masks by the motion of the image inside them: a cheap last step from one image to a slightly newer one.

Corners inside a mask are tracked by pyramidal Lucas-Kanade optical flow (Bouguet 2001), forwards and backwards, as in
Kalal et al., "Forward-Backward Error", 2010. The corners that return to their place give a similarity transform by
RANSAC. A target with few corners, or one that moved too far for the flow, is found by normalised cross-correlation.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.geometry import mask_box
from reasonseg_ros.types import BoolMask, FloatArray, RgbImage

MOST_CORNERS = 60
LEAST_CORNERS = 6
LEAST_SHARE = 0.5
"""Minimum share of corners that return and agree on one motion."""
BACK_PX = 1.0
GrayImage = NDArray[np.uint8]
REACH_PX = 80
"""Search distance on each side of the last position."""
LEAST_CORRELATION = 0.8
TEMPLATE_PX = 40
"""Larger targets are searched in a smaller image."""
WINDOW_WH_PX, LEVELS = (21, 21), 4
"""Window of the optical flow, and number of pyramid levels."""


def moved_mask(before: RgbImage, after: RgbImage, mask: BoolMask) -> BoolMask | None:
    """`mask` of the image `before`, moved as its content moved in `after`; None if the motion is not reliable.

    Both images are uint8 [H, W, 3], `mask` is bool [H, W].
    """
    motion = motion_of(cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY), mask)
    if motion is None:
        motion = shift_of(before, after, mask)
    if motion is None:
        return None
    size_wh = mask.shape[1], mask.shape[0]
    moved = cv2.warpAffine(mask.astype(np.uint8), motion, size_wh, flags=cv2.INTER_NEAREST).astype(bool)
    return moved if moved.any() else None


def motion_of(before: GrayImage, after: GrayImage, mask: BoolMask) -> FloatArray | None:
    """The similarity transform, float64 [2, 3], of the content under the mask; None if it is not clear."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    corners = cv2.goodFeaturesToTrack(before, MOST_CORNERS, 0.01, 3, mask=inner)
    if corners is None or len(corners) < LEAST_CORNERS:
        return None
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, None, None, WINDOW_WH_PX, LEVELS)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, None, None, WINDOW_WH_PX, LEVELS)
    is_back = (found & found_back).ravel().astype(bool) & (np.linalg.norm(back - corners, axis=2).ravel() < BACK_PX)
    least = max(LEAST_CORNERS, LEAST_SHARE * len(corners))
    if is_back.sum() < least:
        return None
    motion, agree = cv2.estimateAffinePartial2D(corners[is_back], there[is_back], ransacReprojThreshold=2.0)
    if motion is None or agree.sum() < least:
        return None
    return np.asarray(motion, float)


def shift_of(before: RgbImage, after: RgbImage, mask: BoolMask) -> FloatArray | None:
    """The translation, float64 [2, 3], to the most similar place in `after`; None if nothing is similar."""
    box_xyxy = mask_box(mask)
    if box_xyxy is None:
        return None
    x1, y1, x2, y2 = box_xyxy.astype(int)
    height, width = mask.shape
    left, top = max(0, x1 - REACH_PX), max(0, y1 - REACH_PX)
    window = after[top : min(height, y2 + REACH_PX), left : min(width, x2 + REACH_PX)]
    scale = min(1.0, TEMPLATE_PX / max(x2 - x1, y2 - y1))
    fx, fy = (max(1, round(scale * side)) / side for side in (x2 - x1, y2 - y1))
    target, window, inside = (
        cv2.resize(part, None, fx=fx, fy=fy, interpolation=how)
        for part, how in (
            (before[y1:y2, x1:x2], cv2.INTER_AREA),
            (window, cv2.INTER_AREA),
            (mask[y1:y2, x1:x2].astype(np.uint8), cv2.INTER_NEAREST),
        )
    )
    if not inside.any() or np.ptp(target[inside > 0]) == 0:  # the correlation of a uniform target is undefined
        return None
    similar = cv2.matchTemplate(window, target, cv2.TM_CCOEFF_NORMED, mask=cv2.merge([inside] * 3))
    similar[~np.isfinite(similar)] = -1.0
    _, best, _, (x, y) = cv2.minMaxLoc(similar)
    if best < LEAST_CORRELATION:
        return None
    return np.array([[1, 0, x / fx + left - x1], [0, 1, y / fy + top - y1]])

"""Holes and fragments of masks, with one definition for all uses.

Fragments are 8-connected, holes are 4-connected. Background that reaches the border of the image is not a hole.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.types import BoolMask


def labelled_holes(mask: BoolMask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The hole at each pixel, int32 [H, W], 0 for none; and the areas of the holes in pixels, int32 [1 + holes].

    The first area stands for no hole, and is 0.
    """
    # A margin of one background pixel joins everything outside into one component.
    padded = np.pad(mask, 1).astype(np.uint8)
    count, ids, stats, _ = cv2.connectedComponentsWithStats(1 - padded, connectivity=4)
    is_hole = np.ones(count, bool)
    is_hole[[0, ids[0, 0]]] = False  # the mask, and the outside
    numbers = np.where(is_hole, np.cumsum(is_hole), 0).astype(np.int32)
    areas = np.concatenate([[0], stats[is_hole, cv2.CC_STAT_AREA]]).astype(np.int32)
    return numbers[ids][1:-1, 1:-1], areas


def labelled_fragments(mask: BoolMask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The fragment at each pixel, int32 [H, W], 0 outside; and the areas in pixels, int32 [1 + fragments].

    The first area stands for the outside, and is 0.
    """
    _, ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return ids, areas

"""The pixels of a mask whose depth is that of the target, and the pixels around it."""

from __future__ import annotations

import cv2
import numpy as np

from reasonseg_ros.types import BoolMask, FloatArray

JUMP_SHARE = 0.02
"""Neighbouring pixels further apart than this share of their depth are on different surfaces."""
MIN_CLUSTER_SHARE = 0.1
"""Surfaces behind each other with less than this share of a mask's points each are spilled ones."""
MIN_COMPANY = 5
"""Of the 9 pixels of a neighbourhood, itself included."""
MAX_SPECK_SHARE = 0.02


def thinned_mask(mask: BoolMask, count: int) -> BoolMask:
    """Evenly spaced true pixels, at most `count`."""
    thin = np.zeros_like(mask)
    chosen = np.flatnonzero(mask)
    thin.flat[chosen[:: max(1, -(-len(chosen) // count))]] = True
    return thin


def surroundings(inside: BoolMask, valid: BoolMask) -> BoolMask:
    """Pixels of known depth that are clear of the mask."""
    near = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8))
    clear: BoolMask = valid & (near == 0)
    return clear


def foreground_of(inside: BoolMask, depth_m: FloatArray) -> BoolMask:
    """The mask without unknown pixels, without pixels behind a nearer neighbour, and without small surfaces apart.

    A pixel behind its neighbour is background under the mask's edge, or hangs in the air between the two.
    """
    valid = depth_m > 0
    nearest_m = cv2.erode(np.where(valid, depth_m, np.float32(np.inf)), np.ones((3, 3), np.uint8))
    kept: BoolMask = inside & valid & (depth_m - nearest_m < JUMP_SHARE * depth_m)
    return without_specks(_without_small_clusters(kept, depth_m))


def without_specks(mask: BoolMask) -> BoolMask:
    """The pixels that have company: most of their 3 x 3 neighbourhood, and more than a speck joined to them."""
    ones = mask.astype(np.uint8)
    company = cv2.boxFilter(ones, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    kept: BoolMask = mask & (company >= MIN_COMPANY)
    _, ids, stats, _ = cv2.connectedComponentsWithStats(kept.astype(np.uint8), connectivity=8)
    is_large = stats[:, cv2.CC_STAT_AREA] > MAX_SPECK_SHARE * np.count_nonzero(kept)
    is_large[0] = False
    kept = is_large[ids]
    return kept if kept.any() else mask


def _without_small_clusters(kept: BoolMask, depth_m: FloatArray) -> BoolMask:
    """The pixels but for those few whose depth is cut off by a gap from that of the others."""
    depths = np.sort(depth_m[kept])
    if not len(depths):
        return kept
    starts = np.flatnonzero(np.diff(depths) > JUMP_SHARE * depths[:-1]) + 1
    found = np.zeros_like(kept)
    for cluster in np.split(depths, starts):
        if len(cluster) >= MIN_CLUSTER_SHARE * len(depths):
            found |= kept & (depth_m >= cluster[0]) & (depth_m <= cluster[-1])
    return found

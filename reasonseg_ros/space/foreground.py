"""The pixels of a mask that show the target by their depth, and the pixels around the mask."""

from __future__ import annotations

import cv2
import numpy as np

from reasonseg_ros.types import BoolMask, FloatArray

JUMP_SHARE = 0.02
"""Neighbouring pixels whose depths differ by more than this share are on different surfaces."""
MIN_CLUSTER_SHARE = 0.1
"""A surface, separated by a gap in depth, with less than this share of the mask's points is spill-over."""
MIN_COMPANY = 5
"""Minimum pixels in a 3 x 3 neighbourhood, the pixel itself included."""
MAX_SPECK_SHARE = 0.02
"""A connected component with at most this share of the pixels is a speck."""


def thinned_mask(mask: BoolMask, count: int) -> BoolMask:
    """At most `count` of the true pixels, evenly spaced."""
    thin = np.zeros_like(mask)
    chosen = np.flatnonzero(mask)
    thin.flat[chosen[:: max(1, -(-len(chosen) // count))]] = True
    return thin


def surroundings(inside: BoolMask, valid: BoolMask) -> BoolMask:
    """Pixels of known depth with some distance to the mask."""
    near = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8))
    clear: BoolMask = valid & (near == 0)
    return clear


def foreground_of(inside: BoolMask, depth_m: FloatArray) -> BoolMask:
    """The mask without pixels of unknown depth, without pixels behind a nearer neighbour, and without small surfaces.

    A pixel behind its neighbour is background under the mask's edge, or a flying pixel between the two.
    """
    valid = depth_m > 0
    nearest_m = cv2.erode(np.where(valid, depth_m, np.float32(np.inf)), np.ones((3, 3), np.uint8))
    kept: BoolMask = inside & valid & (depth_m - nearest_m < JUMP_SHARE * depth_m)
    return without_specks(_without_small_clusters(kept, depth_m))


def without_specks(mask: BoolMask) -> BoolMask:
    """The pixels with most of their 3 x 3 neighbourhood in the mask, in components larger than a speck."""
    ones = mask.astype(np.uint8)
    company = cv2.boxFilter(ones, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    kept: BoolMask = mask & (company >= MIN_COMPANY)
    _, ids, stats, _ = cv2.connectedComponentsWithStats(kept.astype(np.uint8), connectivity=8)
    is_large = stats[:, cv2.CC_STAT_AREA] > MAX_SPECK_SHARE * np.count_nonzero(kept)
    is_large[0] = False
    kept = is_large[ids]
    return kept if kept.any() else mask


def _without_small_clusters(kept: BoolMask, depth_m: FloatArray) -> BoolMask:
    """The pixels without small groups whose depth is separated from the others by a gap."""
    depths = np.sort(depth_m[kept])
    if not len(depths):
        return kept
    starts = np.flatnonzero(np.diff(depths) > JUMP_SHARE * depths[:-1]) + 1
    found = np.zeros_like(kept)
    for cluster in np.split(depths, starts):
        if len(cluster) >= MIN_CLUSTER_SHARE * len(depths):
            found |= kept & (depth_m >= cluster[0]) & (depth_m <= cluster[-1])
    return found

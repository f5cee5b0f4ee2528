"""Training targets from masks: boxes, points, and whether a segmenter reproduces the mask from them.

Sources: box, two points and their scaling as in Liu et al., "Seg-Zero", 2025, arXiv:2503.06520; dropped objects as in
Liu et al., "VisionReasoner", 2025, arXiv:2505.12081.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.clips import Truth
from reasonseg_ros.geometry import innermost_xy, mask_box, mask_iou, outline_distance, scale_xy
from reasonseg_ros.segmenter.port import Features, Segmenter
from reasonseg_ros.training.rows import TRUTH_PX, TrueTarget
from reasonseg_ros.types import BoolMask, FloatArray, Grounding

MIN_SEGMENTED_IOU = 0.6
"""VisionReasoner drops objects that its segmenter reproduces from box and point with a smaller IoU."""
_SLACK_PX = 2.0
"""Tolerance, because separately annotated boxes and masks differ by a pixel."""


def object_masks(truth: Truth) -> list[BoolMask]:
    """A mask for each target, bool [H, W].

    Without boxes, or with one, the whole mask is one target. With several boxes, each pixel belongs to the box that
    contains it. If several do, it belongs to the one with the nearest centre, relative to the box's size. Raises
    InvalidInput if a box gets no pixel, or if a pixel is more than 2 px outside of all boxes.
    """
    if not truth.mask.any():
        return []
    boxes = np.asarray(truth.boxes_xyxy, np.float64)
    if len(boxes) < 2:
        return [truth.mask]
    ys, xs = np.nonzero(truth.mask)
    middles = np.stack([xs, ys], 1)[:, None] + 0.5
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    offsets = np.abs(middles - (boxes[:, 2:] + boxes[:, :2]) / 2)
    if ((offsets - halves).max(axis=2).min(axis=1) > _SLACK_PX).any():
        raise InvalidInput("a part of its mask lies in none of its boxes; write a box for each target, or none")
    owner = (offsets / halves).max(axis=2).argmin(axis=1)
    masks = []
    for number in range(len(boxes)):
        mask = np.zeros_like(truth.mask)
        mask[ys[owner == number], xs[owner == number]] = True
        if not mask.any():
            raise InvalidInput(f"its box {boxes[number].tolist()} has no pixel of the mask to itself")
        masks.append(mask)
    return masks


def inner_points_xy(mask: BoolMask, count: int) -> FloatArray:
    """One or two points inside a mask, float32 [count, 2].

    The first is the pixel farthest from the outline. The second is the pixel farthest from the outline among those that
    are farther from the first than the median pixel; a mask of one pixel has it twice.
    """
    first = innermost_xy(mask)
    if count == 1:
        return first[None]
    ys, xs = np.nonzero(mask)
    distances = np.hypot(xs - first[0], ys - first[1])
    depth = np.where(distances > np.median(distances), outline_distance(mask)[ys, xs], -1)
    best = depth.argmax()
    second = first if depth[best] < 0 else np.array([xs[best], ys[best]], np.float32)
    return np.stack([first, second])


def target_of(mask: BoolMask, points: int) -> TrueTarget:
    """Inclusive box and inner points of a mask, in whole pixels of the squashed image. Raises InvalidInput if empty."""
    box = mask_box(mask)
    if box is None:
        raise InvalidInput("its mask is empty")
    pixels = np.concatenate([[box[:2], box[2:] - 1], inner_points_xy(mask, points)])
    scaled = np.rint(scale_xy(pixels, mask.shape[::-1], (TRUTH_PX, TRUTH_PX))).tolist()
    (x1, y1), (x2, y2), *inside = scaled
    return TrueTarget((x1, y1, x2, y2), tuple((x, y) for x, y in inside))


def segmented_again(
    segmenter: Segmenter, features: Features, masks: Sequence[BoolMask], min_iou: float = MIN_SEGMENTED_IOU
) -> list[bool]:
    """Whether the segmenter reproduces each mask from its box and innermost point, with at least `min_iou`."""
    groundings = [Grounding(_box(mask), inner_points_xy(mask, 1)) for mask in masks]
    found = segmenter.decode(features, groundings) if groundings else []
    return [mask_iou(scored.mask, mask) >= min_iou for scored, mask in zip(found, masks, strict=True)]


def _box(mask: BoolMask) -> FloatArray:
    box = mask_box(mask)
    assert box is not None
    return box

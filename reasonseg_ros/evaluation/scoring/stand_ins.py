"""Derives groundings for methods that give none, so that their failures are typed by the same rules.

LISA gives only a mask; READ and others give an activation map over the image. The true mask is turned into groundings
too, to measure what the segmenter alone would have lost.
"""

from __future__ import annotations

import cv2
import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import innermost_xy, mask_box
from reasonseg_ros.types import BoolMask, FloatArray, Grounding

ACTIVE_SHARE = 0.8
"""Share of the activation's range from which a pixel is a positive point (READ, Qian et al., CVPR 2025)."""
EXTENT_SHARE = 0.5
"""The box encloses the pixels from this share of the range on that are connected to a positive point."""
MAX_POINTS = 30


def from_mask(mask: BoolMask) -> tuple[Grounding, ...]:
    """The box around a mask bool [H, W] and its innermost point; nothing for an empty mask."""
    box_xyxy = mask_box(mask)
    return () if box_xyxy is None else (Grounding(box_xyxy, innermost_xy(mask)[None]),)


def from_activation(activation: FloatArray, size_wh: tuple[int, int]) -> tuple[Grounding, ...]:
    """One grounding for each active area of a map [h, w] of any scale, in pixels of an image of `size_wh`.

    A constant map gives none. Raises InvalidInput for a map that is empty, not finite, or not two-dimensional.
    """
    values = np.asarray(activation, np.float32)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise InvalidInput(f"activation of shape {values.shape}; expected finite numbers [h, w]")
    values = cv2.resize(values, size_wh, interpolation=cv2.INTER_LINEAR)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return ()
    values = (values - low) / (high - low)
    count, area_ids = cv2.connectedComponents((values >= EXTENT_SHARE).astype(np.uint8), connectivity=8)
    groundings = []
    for area_id in range(1, count):
        area = area_ids == area_id
        rows, columns = np.nonzero(area & (values >= ACTIVE_SHARE))
        box_xyxy = mask_box(area)
        if not rows.size or box_xyxy is None:
            continue
        strongest = np.argsort(-values[rows, columns], kind="stable")[:MAX_POINTS]
        points_xy = np.stack([columns[strongest], rows[strongest]], axis=1).astype(np.float32)
        groundings.append(Grounding(box_xyxy, points_xy, score=float(values[rows, columns].max())))
    return tuple(groundings)

"""Reads and checks the ground truth in a message."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput, UnusableImage
from reasonseg_ros.evaluation.reading.clips import Truth
from reasonseg_ros.faults import reason as reason_of
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.images.messages import declared_size_wh
from reasonseg_ros.types import BoolMask, FloatArray


def truth_from_message(message: Any, image: Any) -> Truth:
    """The truth in a `GroundTruth` about an image message. Raises InvalidInput if it is damaged or of another size."""
    try:
        mask, ignore = decode_mask(message.mask), decode_mask(message.ignore)
        boxes, points = _checked_boxes(message.boxes), _checked_points(message.points)
    except Exception as error:  # damaged data make a decoder raise nearly anything
        raise InvalidInput(f"its ground truth is damaged: {reason_of(error)}") from error
    if not ignore.size:
        ignore = np.zeros_like(mask)
    sizes = {"mask": mask.shape, "ignore": ignore.shape}
    with suppress(UnusableImage):  # reported when the image is loaded
        sizes["image"] = declared_size_wh(image)[::-1]
    if len(set(sizes.values())) > 1:
        stated = ", ".join(f"{name} of {width} x {height}" for name, (height, width) in sizes.items())
        raise InvalidInput(f"sizes differ: {stated}; write the masks in the image's size")
    _check_agreement(mask, ignore, boxes, points)
    return Truth(mask, ignore, boxes, points, message.thought)


def _check_agreement(mask: BoolMask, ignore: BoolMask, boxes_xyxy: FloatArray, points_xy: FloatArray) -> None:
    """Raises InvalidInput if boxes or points do not belong to the mask: it is empty, or they are in other pixels."""
    height, width = mask.shape
    marked = mask | ignore
    if not marked.any() and (len(boxes_xyxy) or len(points_xy)):
        raise InvalidInput(
            f"{len(boxes_xyxy)} boxes and {len(points_xy)} points, and an empty mask, which says that nothing fits; "
            "write the mask of the targets"
        )
    for box in boxes_xyxy:
        (x1, y1), (x2, y2) = np.floor(np.maximum(box[:2], 0)).astype(int), np.ceil(np.maximum(box[2:], 0)).astype(int)
        if not marked[y1:y2, x1:x2].any():
            raise InvalidInput(f"its box {box.tolist()} holds no pixel of its mask; write boxes in pixels, x1 y1 x2 y2")
    for x, y in points_xy:
        if not (0 <= x <= width and 0 <= y <= height):
            raise InvalidInput(f"its point ({x:g}, {y:g}) lies outside the image of {width} x {height}")


def _checked_boxes(messages: Sequence[Any]) -> FloatArray:
    """float32 [B, 4]. Raises InvalidInput if one is not finite or has no area."""
    boxes = np.array([[box.x1, box.y1, box.x2, box.y2] for box in messages], np.float32).reshape(-1, 4)
    for box in boxes:
        if not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
            raise InvalidInput(f"its box {box.tolist()} is not x1 < x2, y1 < y2; write boxes with an area, or none")
    return boxes


def _checked_points(messages: Sequence[Any]) -> FloatArray:
    """float32 [P, 2]. Raises InvalidInput if one is not finite."""
    points = np.array([[point.x, point.y] for point in messages], np.float32).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise InvalidInput(f"its points {points.tolist()!s:.200} are not all finite; write points in pixels, or none")
    return points

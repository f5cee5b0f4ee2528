"""Segmentations as COCO's files hold them: run lengths, several of them, or polygons."""

from __future__ import annotations

from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import decode_rle
from reasonseg_ros.types import BoolMask


def segmentation_mask(segmentation: Any, size_wh: tuple[int, int]) -> tuple[BoolMask, tuple[str, ...]]:
    """The union of all parts, bool [H, W], and one line for each polygon that was left out as broken.

    `segmentation` is a run-length object (`size`, `counts`), a list of them, or a list of polygons
    `[x1, y1, x2, y2, ...]`. Raises InvalidInput where nothing of it can be used.
    """
    parts = [segmentation] if isinstance(segmentation, dict) else segmentation
    if not isinstance(parts, list) or not parts:
        raise InvalidInput("it has no segmentation; expected run lengths or polygons")
    if all(isinstance(part, dict) for part in parts):
        union = np.zeros(size_wh[::-1], bool)
        for part in parts:
            union |= rle_mask(part, size_wh)
        return union, ()
    broken = []
    polygons = []
    for number, part in enumerate(parts, 1):
        reason = _polygon_fault(part)
        if reason:
            broken.append(f"polygon {number} is left out: {reason}")
        else:
            polygons.append(part)
    if not polygons:
        raise InvalidInput(f"no usable polygon; {broken[0]}")
    masks = _pycocotools()
    runs = masks.merge(masks.frPyObjects(polygons, size_wh[1], size_wh[0]))
    return masks.decode(runs).astype(bool), tuple(broken)


def rle_mask(runs: dict[str, Any], size_wh: tuple[int, int]) -> BoolMask:
    """Mask of one run-length object, whose counts are numbers or COCO's compressed text. Raises InvalidInput."""
    size, counts = runs.get("size"), runs.get("counts")
    if not isinstance(size, list) or list(size) != [size_wh[1], size_wh[0]]:
        raise InvalidInput(f"run lengths of size {size} (height, width) for an image of {size_wh[0]} x {size_wh[1]}")
    try:
        if isinstance(counts, list):
            return decode_rle(counts, size_wh)
        data = counts.encode("ascii") if isinstance(counts, str) else counts
        if not isinstance(data, bytes) or not data:
            raise InvalidInput("the counts are missing")
        return _pycocotools().decode({"size": size, "counts": data}).astype(bool)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"damaged run lengths ({error}); get the annotation again") from error


def _polygon_fault(polygon: Any) -> str:
    """Why a flat list of coordinates is no polygon; empty where it is one."""
    # pycocotools takes four numbers for a box, so two points would silently become a rectangle.
    try:
        values = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        return "it is no list of numbers; draw it again"
    if values.ndim != 1 or values.size % 2:
        return "its numbers do not pair up as x and y; draw it again"
    if not np.isfinite(values).all():
        return "a coordinate is no number; draw it again"
    if values.size < 6:
        return f"{values.size // 2} points enclose nothing; draw three at least, or remove it"
    return ""


def _pycocotools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise InvalidInput("COCO masks need pycocotools; pip install 'reasonseg_ros[evaluation]'") from error
    return mask

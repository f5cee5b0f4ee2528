"""Decodes segmentations of COCO files: run lengths, a list of them, or polygons."""

from __future__ import annotations

from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.run_lengths import decode_rle
from reasonseg_ros.types import BoolMask

FARTHEST_PX = 100_000
"""Coordinates beyond this are damage. pycocotools needs memory in proportion to the length of an edge."""

MOST_BITS = 40
"""Longest number in a compressed text. Without a limit, decoding a number takes time quadratic in its length."""


def segmentation_mask(segmentation: Any, size_wh: tuple[int, int]) -> tuple[BoolMask, tuple[str, ...]]:
    """The union of all parts, bool [H, W], and one line for each polygon that was left out as broken.

    `segmentation` is a run-length object (`size`, `counts`), a list of them, or a list of polygons
    `[x1, y1, x2, y2, ...]`. Raises InvalidInput if nothing of it can be used.
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
    return decode_rle(_counts(runs["counts"]), size_wh), tuple(broken)


def rle_mask(runs: dict[str, Any], size_wh: tuple[int, int]) -> BoolMask:
    """Mask of one run-length object, whose counts are numbers or COCO's compressed text. Raises InvalidInput."""
    size, counts = runs.get("size"), runs.get("counts")
    if not isinstance(size, list) or list(size) != [size_wh[1], size_wh[0]]:
        raise InvalidInput(f"run lengths of size {size} (height, width) for an image of {size_wh[0]} x {size_wh[1]}")
    if not isinstance(counts, (list, str, bytes)):
        raise InvalidInput("its run lengths have no counts; get the annotation again")
    try:
        return decode_rle(counts if isinstance(counts, list) else _counts(counts), size_wh)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"damaged run lengths ({error}); get the annotation again") from error


def _polygon_fault(polygon: Any) -> str:
    """Why a flat list of coordinates is no polygon; empty if it is one."""
    # pycocotools takes four numbers for a box, so two points must not get that far.
    try:
        values = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        return "it is no list of numbers; draw it again"
    if values.ndim != 1 or values.size % 2:
        return "its numbers do not pair up as x and y; draw it again"
    if not np.isfinite(values).all() or np.abs(values).max(initial=0) > FARTHEST_PX:
        return "a coordinate is not a number of pixels; draw it again"
    if values.size < 6:
        return f"{values.size // 2} points enclose nothing; draw three at least, or remove it"
    return ""


def _counts(text: str | bytes) -> list[int]:
    """Run lengths of COCO's compressed text. Raises InvalidInput.

    A number consists of groups of 5 bits, lowest first. Each group is a character, its value plus 48. Bit 5 is set if
    more groups follow; the highest bit of the last group is the sign. From the fourth number on, the text holds the
    difference from the number two before. pycocotools is not used, because it reads beyond the end of a damaged text.
    """
    data = text.encode("ascii") if isinstance(text, str) else text
    counts: list[int] = []
    number = shift = 0
    for character in data:
        bits = character - 48
        if not 0 <= bits < 64:
            raise InvalidInput(f"character {character} never occurs in compressed run lengths")
        if shift >= MOST_BITS:
            raise InvalidInput(f"a number of more than {MOST_BITS} bits, above the pixels of any image")
        number |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = shift = 0
    if shift or not counts:
        raise InvalidInput("the compressed text breaks off")
    return counts


def _pycocotools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise InvalidInput("COCO masks need pycocotools; pip install 'reasonseg_ros[evaluation]'") from error
    return mask

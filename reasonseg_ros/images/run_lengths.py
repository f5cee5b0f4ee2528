"""Masks as run lengths in COCO's uncompressed order: column by column, zeros first."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.header import check_mask_pixels
from reasonseg_ros.types import BoolMask

Rle = dict[str, list[int]]
"""`size` [height, width] and `counts`, run lengths in COCO's order: column by column, zeros first."""


def encode_rle(mask: BoolMask) -> NDArray[np.uint32]:
    """Run lengths of a mask, bool [H, W], in COCO's order: column by column, the first run counts zeros."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate(([0], edges, [flat.size])) if flat.size else np.zeros(1, int)
    counts = np.diff(bounds).astype(np.uint32)
    return np.concatenate(([np.uint32(0)], counts)).astype(np.uint32) if flat.size and flat[0] else counts


def decode_rle(counts: ArrayLike, size_wh: tuple[int, int]) -> BoolMask:
    """The mask, bool [H, W], from run lengths in COCO's order.

    Raises InvalidInput if the runs are not whole numbers or do not fill the image, or if the image is too large.
    """
    check_mask_pixels(size_wh)
    width, height = size_wh
    try:
        given = np.asarray(counts)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"runs are no list of whole numbers ({error})") from error
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise InvalidInput(f"runs are {given.dtype} {given.shape}; expected a list of whole numbers of at most 64 bits")
    runs = given.astype(np.int64)
    # Single runs are checked before the sum, because the sum may overflow.
    if runs.min(initial=0) < 0 or runs.max(initial=0) > width * height or runs.sum() != width * height:
        raise InvalidInput(f"runs add up to {runs.sum()} pixels; expected {width} x {height} = {width * height}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape((height, width), order="F")


def rle_from_mask(mask: BoolMask) -> Rle:
    return {"size": list(mask.shape), "counts": encode_rle(mask).tolist()}


def mask_from_rle(rle: Rle) -> BoolMask:
    """The mask, bool [H, W]. Raises InvalidInput if the runs do not fill the image, or the image is too large."""
    try:
        height, width = (operator.index(length) for length in rle["size"])
        counts = rle["counts"]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"no run lengths ({error}); expected size and counts") from error
    if min(height, width) < 1:
        raise InvalidInput(f"mask of {width} x {height} pixels; expected at least one")
    return decode_rle(counts, (width, height))

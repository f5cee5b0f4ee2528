"""The resizing of Pillow and torchvision in numpy, bit for bit. Checkpoints were trained with these libraries.

Both resample along the rows, then along the columns, in integers, and round to 8 bits after each. When an image
shrinks, the filter widens with the scale (antialiasing). Pillow's weights have 22 bits. Torchvision's have as many bits
as the largest weight allows in 16. For some tall images Pillow 13 resamples the columns first, which changes the
rounding; here the order is always the same. Sources: Pillow's `Resample.c`, PyTorch's `UpSampleKernel.cpp`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.types import RgbImage

_BITS = 22
_Floats = NDArray[np.float64]


def _triangle(x: _Floats) -> _Floats:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(x: _Floats) -> _Floats:
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


_FILTERS: dict[str, tuple[Callable[[_Floats], _Floats], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
}
"""Each filter, with its support at scale 1."""


def resize_like_pillow(rgb: RgbImage, size_wh: tuple[int, int], filter_name: str = "bilinear") -> RgbImage:
    """Resize uint8 [H, W, 3] like Pillow, ignoring the aspect ratio. `filter_name` is `bilinear` or `bicubic`."""
    return _resized(rgb, size_wh, filter_name, is_short=False)


def resize_like_torchvision(rgb: RgbImage, size_wh: tuple[int, int], filter_name: str = "bicubic") -> RgbImage:
    """Resize like torchvision with antialiasing on uint8 tensors, which transformers' image processors use."""
    return _resized(rgb, size_wh, filter_name, is_short=True)


def _resized(rgb: RgbImage, size_wh: tuple[int, int], filter_name: str, is_short: bool) -> RgbImage:
    height, width = rgb.shape[:2]
    if width != size_wh[0]:
        turned = cv2.transpose(rgb)  # much faster than numpy's
        rgb = cv2.transpose(_resampled(turned, size_wh[0], filter_name, is_short))
    return _resampled(rgb, size_wh[1], filter_name, is_short) if height != size_wh[1] else rgb


def _resampled(rgb: RgbImage, rows: int, filter_name: str, is_short: bool) -> RgbImage:
    """Resample the first axis to `rows`. Taps are added one by one, so that little memory is needed."""
    index, weights, bits = _taps(rgb.shape[0], rows, filter_name, is_short)
    lines = np.ascontiguousarray(rgb).reshape(rgb.shape[0], -1).astype(np.int32)
    total = np.full((rows, lines.shape[1]), 1 << (bits - 1), np.int32)
    part = np.empty_like(total)
    for tap in range(index.shape[1]):
        np.take(lines, index[:, tap], axis=0, out=part, mode="clip")  # the default mode makes another copy
        part *= weights[:, tap, None]
        total += part
    total >>= bits
    resampled: RgbImage = np.clip(total, 0, 255, out=total).astype(np.uint8).reshape(rows, *rgb.shape[1:])
    return resampled


@functools.lru_cache(maxsize=32)
def _taps(length: int, rows: int, filter_name: str, is_short: bool) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """Source rows of each new row [rows, taps], their fixed-point weights [rows, taps], and the number of bits."""
    shape, reach = _FILTERS[filter_name]
    scale = length / rows
    stretch = max(scale, 1.0)
    support = reach * stretch
    taps = math.ceil(support) * 2 + 1
    index, weights = np.zeros((rows, taps), np.int64), np.zeros((rows, taps))
    for row in range(rows):
        center = (row + 0.5) * scale
        first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), length)
        values = shape((np.arange(first, last, dtype=np.float64) - center + 0.5) / stretch)
        index[row, : last - first] = np.arange(first, last)
        weights[row, : last - first] = values / values.sum()
    bits = _short_bits(float(weights.max())) if is_short else _BITS
    weights *= 1 << bits
    fixed = np.trunc(weights + np.copysign(0.5, weights)).astype(np.int32)
    used = np.flatnonzero(fixed.any(0))[-1] + 1
    return index[:, :used], fixed[:, :used], bits


def _short_bits(largest: float) -> int:
    """The number of fractional bits with which the largest weight fits into 15 bits."""
    return next((bits for bits in range(_BITS) if int(0.5 + largest * (1 << (bits + 1))) >= 1 << 15), _BITS)

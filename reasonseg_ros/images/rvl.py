"""RVL, a lossless code for depth images: runs of zeros, then differences of neighbours.

Numbers are written in groups of 3 bits, lowest first, each with a fourth bit that says whether more follow. 8 groups
fill a 32-bit word from its highest bits. Words are little-endian, as in compressed_depth_image_transport. Source: A. D.
Wilson, "Fast Lossless Depth Image Compression", ISS 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import UnusableImage

_MOST_GROUPS = 11
"""Maximum groups of a 32-bit number."""


def decode_rvl(data: Any, size: int) -> NDArray[np.uint16]:
    """Decode `size` pixels, uint16 [size]. Raises UnusableImage if the data is truncated or damaged."""
    numbers = _numbers(memoryview(data).cast("B")[: 4 * size + 64])  # no encoder needs more; the rest is padding
    pixels = np.zeros(size, np.uint16)
    at = done = last = 0
    while done < size:
        if at + 2 > len(numbers):
            raise UnusableImage("truncated image", f"RVL data end after {done} of {size} pixels")
        zeros, count = int(numbers[at]), int(numbers[at + 1])
        at, done = at + 2, done + zeros
        if done + count > size or (not zeros and not count):
            raise UnusableImage("damaged image", f"RVL data hold more than {size} pixels, or an empty run")
        if at + count > len(numbers):
            raise UnusableImage("truncated image", f"RVL data end after {done} of {size} pixels")
        if count:
            coded = numbers[at : at + count]
            values = last + np.cumsum((coded >> 1) ^ -(coded & 1))
            pixels[done : done + count] = values & 0xFFFF
            at, done, last = at + count, done + count, int(values[-1]) & 0xFFFF
    return pixels


def _numbers(view: memoryview) -> NDArray[np.int64]:
    """All numbers in the data, in order."""
    words = np.frombuffer(view[: len(view) // 4 * 4], "<u4")
    groups = (words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32)).astype(np.int64).reshape(-1) & 0xF
    is_end = (groups & 8) == 0
    ends = np.flatnonzero(is_end)
    if not ends.size:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MOST_GROUPS:
        detail = f"an RVL number of {lengths.max()} groups; expected {_MOST_GROUPS} at most"
        raise UnusableImage("damaged image", detail)
    shifts = 3 * (np.arange(ends[-1] + 1) - np.repeat(starts, lengths))
    return np.add.reduceat((groups[: ends[-1] + 1] & 7) << shifts, starts)

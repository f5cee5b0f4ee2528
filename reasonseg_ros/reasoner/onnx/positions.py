"""Rotary positions of texts with images, and of the patches of an image, as tables of cosines and sines.

Source: Qwen2-VL's multimodal rotary embedding (M-RoPE), Wang et al., "Qwen2-VL", 2024, arXiv:2409.12191.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.reasoner.onnx.manifest import TextShape, VisionShape
from reasonseg_ros.types import FloatArray

Grid = tuple[int, int]
"""Rows and columns of an image's tokens."""
VISION_THETA = np.float32(10000.0)


def token_positions(ids: Sequence[int], image_token: int, grids: Sequence[Grid], slots: int) -> NDArray[np.int64]:
    """Position of each slot in time, height and width, int64 [3, slots]. Slots after `ids` count on as text.

    An image's tokens share the time. The text after it continues at the longer side of its grid.
    """
    positions = np.zeros((3, slots), np.int64)
    images = iter(grids)
    place = position = 0
    while place < len(ids):
        if ids[place] != image_token:
            positions[:, place] = position
            place, position = place + 1, position + 1
            continue
        rows, columns = next(images)
        end = place + rows * columns
        positions[0, place:end] = position
        positions[1, place:end] = position + np.repeat(np.arange(rows), columns)
        positions[2, place:end] = position + np.tile(np.arange(columns), rows)
        place, position = end, position + max(rows, columns)
    positions[:, place:] = position + np.arange(slots - place)
    return positions


def text_rotation(positions: NDArray[np.int64], shape: TextShape) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines of [3, slots], each float32 [slots, head size / 2]."""
    half = np.arange(0, shape.head_size, 2, dtype=np.float32)
    frequencies = np.float32(1.0) / np.float32(shape.rope_theta) ** (half / np.float32(shape.head_size))
    # Which of time, height and width rotates each pair of a head's values.
    axes = np.repeat(np.arange(len(shape.sections)) % 3, shape.sections)
    angles = positions[axes].T.astype(np.float32) * frequencies
    return np.cos(angles), np.sin(angles)


def merged_order(rows: int, columns: int, merge: int) -> NDArray[np.int64]:
    """The patches of a grid in the order of the vision model: patches of the same token follow each other."""
    blocks = np.arange(rows * columns).reshape(rows // merge, merge, columns // merge, merge)
    order: NDArray[np.int64] = blocks.transpose(0, 2, 1, 3).reshape(-1)
    return order


def patch_rotation(rows: int, columns: int, shape: VisionShape) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines of the patches in merged order, each float32 [patches, head size / 2]: height, then width."""
    half = shape.head_size // 2
    frequencies = np.float32(1.0) / VISION_THETA ** (np.arange(0, half, 2, dtype=np.float32) / np.float32(half))
    order = merged_order(rows, columns, shape.merge)
    angles = [place[order, None].astype(np.float32) * frequencies
              for place in (np.arange(rows * columns) // columns, np.arange(rows * columns) % columns)]  # fmt: skip
    both = np.concatenate(angles, 1)
    return np.cos(both), np.sin(both)


def window_mask(rows: int, columns: int, shape: VisionShape) -> FloatArray:
    """The additive mask of windowed layers, float32 [1, 1, patches, patches]. The first window is at the top left."""
    side = max(shape.window_px // shape.patch_px // shape.merge, 1) * shape.merge
    place = np.arange(rows * columns)
    window = (place // columns // side) * columns + place % columns // side
    window = window[merged_order(rows, columns, shape.merge)]
    mask: FloatArray = np.where(window[:, None] == window, np.float32(0), np.float32(-1e9))[None, None]
    return mask

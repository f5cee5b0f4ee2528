"""The size in which a checkpoint sees an image, and the pixels in which it therefore answers."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.types import RgbImage

SQUASHED_WH = (840, 840)
RELATIVE_WH = (1000, 1000)
MIN_PIXELS = 56 * 56
MAX_PIXELS = 12_845_056
_PATCH_PX = {"qwen2.5-vl": 28, "qwen3-vl": 32}


def resized_wh(
    source_wh: tuple[int, int], dialect: str = "qwen2.5-vl", min_pixels: int = 0, max_pixels: int = 0
) -> tuple[int, int]:
    """What Qwen-VL's processors make of an image: sides in whole patches, area within the limits, aspect kept.

    Limits of 0 are those of the published Qwen2.5-VL checkpoints. Source: `smart_resize` of transformers' Qwen2-VL.
    """
    patch = _PATCH_PX.get(dialect, 28)
    least, most = min_pixels or MIN_PIXELS, max_pixels or MAX_PIXELS
    sides = [max(patch, round(side / patch) * patch) for side in source_wh]
    area = source_wh[0] * source_wh[1]
    if sides[0] * sides[1] > most:
        shrink = math.sqrt(area / most)
        sides = [max(patch, math.floor(side / shrink / patch) * patch) for side in source_wh]
    elif sides[0] * sides[1] < least:
        grow = math.sqrt(least / area)
        sides = [math.ceil(side * grow / patch) * patch for side in source_wh]
    return sides[0], sides[1]


def default_answer_wh(dialect: str, source_wh: tuple[int, int]) -> tuple[int, int]:
    """The size whose pixels a dialect's published checkpoints answer in."""
    if dialect == "qwen2.5-vl":
        return resized_wh(source_wh)
    return RELATIVE_WH if dialect == "qwen3-vl" else SQUASHED_WH


def answer_wh(card: ModelCard, seen_wh: tuple[int, int]) -> tuple[int, int]:
    """The size whose pixels a checkpoint answers in, when it sees an image of `seen_wh`."""
    if card.coordinates == "relative_1000":
        return RELATIVE_WH
    return card.image_size_wh if card.coordinates == "squashed" and card.image_size_wh else seen_wh


def resize_rgb(rgb: RgbImage, size_wh: tuple[int, int]) -> RgbImage:
    """The whole image at another size, aspect ignored; bilinear with antialiasing, as the checkpoints were trained."""
    if (rgb.shape[1], rgb.shape[0]) == size_wh:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize(size_wh, Image.Resampling.BILINEAR))

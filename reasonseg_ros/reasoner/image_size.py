"""The size at which a checkpoint sees an image, and the coordinates of its answers."""

from __future__ import annotations

import math

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.images.resampling import resize_like_pillow
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
    """The image size of Qwen-VL's processors: sides in whole patches, area within the limits, aspect kept.

    A limit of 0 stands for that of the published Qwen2.5-VL checkpoints. Source: `smart_resize` of transformers'
    Qwen2-VL.
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


def image_tokens(size_wh: tuple[int, int], dialect: str) -> int:
    """The number of a prompt's tokens for an image that is shown in this size."""
    patch = _PATCH_PX.get(dialect, 28)
    return (size_wh[0] // patch) * (size_wh[1] // patch)


def default_answer_wh(dialect: str, source_wh: tuple[int, int]) -> tuple[int, int]:
    """The image size that the coordinates of a dialect's published checkpoints refer to."""
    if dialect == "qwen2.5-vl":
        return resized_wh(source_wh)
    return RELATIVE_WH if dialect == "qwen3-vl" else SQUASHED_WH


def answer_wh(card: ModelCard, seen_wh: tuple[int, int]) -> tuple[int, int]:
    """The image size that a checkpoint's coordinates refer to, when it sees an image of `seen_wh`."""
    if card.coordinates == "relative_1000":
        return RELATIVE_WH
    return card.image_size_wh if card.coordinates == "squashed" and card.image_size_wh else seen_wh


def resize_rgb(rgb: RgbImage, size_wh: tuple[int, int]) -> RgbImage:
    """The whole image at another size, aspect ignored; bilinear with antialiasing, as the checkpoints were trained."""
    if (rgb.shape[1], rgb.shape[0]) == size_wh:
        return rgb
    return resize_like_pillow(rgb, size_wh)


def check_pixel_limits(card: ModelCard, config: ReasonerConfig) -> None:
    """Raises ConfigError if the pixel limits contradict each other or the card."""
    least, most = config.min_pixels, config.max_pixels
    if least and most and least > most:
        raise ConfigError(f"reasoner.min_pixels = {least} is above max_pixels = {most}; swap them")
    if card.image_size_wh:
        width, height = card.image_size_wh
        if least > width * height or 0 < most < width * height:
            raise ConfigError(
                f"{card.name} sees every image at {width}x{height} pixels, which reasoner.min_pixels = {least} and "
                f"max_pixels = {most} do not allow; set both to 0"
            )

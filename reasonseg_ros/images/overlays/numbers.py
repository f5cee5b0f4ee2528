"""Draws numbers on masks, so that a model can refer to them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from reasonseg_ros.geometry import innermost_xy
from reasonseg_ros.images.overlays.lettering import text_width_px, write_text
from reasonseg_ros.types import BoolMask, RgbImage


def numbered(rgb: RgbImage, masks: Sequence[BoolMask]) -> RgbImage:
    """A copy of uint8 [H, W, 3] with a number, from 1, at the innermost point of each mask, bool [H, W]."""
    picture: RgbImage = rgb.copy()
    letter_px = max(14, round(min(rgb.shape[:2]) / 22))
    for number, mask in enumerate(masks, 1):
        x, y = innermost_xy(mask).astype(int)
        width = text_width_px(str(number), letter_px, bold=True)
        left, base = int(x - width // 2), int(y + letter_px // 3)
        corner = (left - 3, base - letter_px + 2)
        cv2.rectangle(picture, corner, (left + width + 3, base + 4), (255, 255, 255), cv2.FILLED)
        write_text(picture, str(number), (left, base), (0, 0, 0), letter_px, bold=True)
    return picture

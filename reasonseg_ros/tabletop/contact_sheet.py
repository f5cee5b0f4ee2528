"""A contact sheet: several images in rows, with captions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.types import BoolMask, RgbImage

_LINE_PX = 15
_MARGIN_PX = 4
_SCALE = 0.4
_CHARACTER_PX = 7


def contact_sheet(images: Sequence[RgbImage], captions: Sequence[str], columns: int = 4) -> RgbImage:
    """A white sheet of images in rows with wrapped captions below, uint8 [H, W, 3]. Raises InvalidInput.

    Args:
        images: uint8 [h, w, 3], all of the same size.
        captions: one for each image; may be empty.
        columns: images per row.
    """
    if not images or len(images) != len(captions) or columns < 1:
        raise InvalidInput(
            f"{len(images)} images, {len(captions)} captions, {columns} columns: give one caption for each image, "
            "at least one image and at least one column"
        )
    if len({image.shape for image in images}) > 1:
        raise InvalidInput(f"image shapes {sorted({image.shape for image in images})}: all must be equal")
    height, width = images[0].shape[:2]
    wrapped = [textwrap.wrap(text, max(8, (width - 2 * _MARGIN_PX) // _CHARACTER_PX)) for text in captions]
    text_px = max(len(lines) for lines in wrapped) * _LINE_PX + _MARGIN_PX
    rows = -(-len(images) // columns)
    cell_w, cell_h = width + _MARGIN_PX, height + text_px + _MARGIN_PX
    sheet = np.full((rows * cell_h + _MARGIN_PX, columns * cell_w + _MARGIN_PX, 3), 255, np.uint8)
    for i, (image, lines) in enumerate(zip(images, wrapped, strict=True)):
        x = _MARGIN_PX + (i % columns) * cell_w
        y = _MARGIN_PX + (i // columns) * cell_h
        sheet[y : y + height, x : x + width] = image
        for number, line in enumerate(lines, 1):
            at = (x + 2, y + height + number * _LINE_PX - 3)
            cv2.putText(sheet, line, at, cv2.FONT_HERSHEY_SIMPLEX, _SCALE, (20, 20, 20), 1, cv2.LINE_AA)
    return sheet


def outlined(rgb: RgbImage, masks: Sequence[BoolMask]) -> RgbImage:
    """A copy of `rgb`, uint8 [H, W, 3], with the outline of each mask, bool [H, W], in a different colour."""
    drawn = rgb.copy()
    for i, mask in enumerate(masks):
        hue = np.array([[[(i * 67) % 180, 255, 255]]], np.uint8)
        color = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, color, 1)
    return drawn

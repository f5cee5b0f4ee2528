"""Pictures of an answer: masks, boxes and labels drawn over the image."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import cv2
import numpy as np

from reasonseg_ros.types import Answer, Region, RgbImage, Status

PALETTE_RGB = np.array(
    [
        (230, 25, 75),
        (60, 180, 75),
        (0, 130, 200),
        (245, 130, 48),
        (145, 30, 180),
        (70, 240, 240),
        (240, 50, 230),
        (210, 245, 60),
        (0, 128, 128),
        (255, 225, 25),
    ],
    np.uint8,
)
"""Colours of the first, second, ... region, told apart by eye on most backgrounds."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(rgb: RgbImage, regions: Sequence[Region], title: str = "", alpha: float = 0.5) -> RgbImage:
    """A copy of uint8 [H, W, 3] with each region's mask (opacity `alpha`), outline, box and label, and a title on top.

    A followed target that is not seen is not drawn.

    Text is drawn in ASCII; other characters show as question marks.
    """
    picture: RgbImage = rgb.copy()
    for index, region in enumerate(regions):
        _draw_mask(picture, region, PALETTE_RGB[index % len(PALETTE_RGB)], alpha)
    if title:
        _draw_title(picture, title)
    for index, region in enumerate(regions):
        if region.track_state not in ("occluded", "lost"):
            _draw_box(picture, region, index, PALETTE_RGB[index % len(PALETTE_RGB)])
    return picture


def answer_title(question: str, answer: Answer) -> str:
    """What stands above a picture of an answer: the question, then the thought, or why there is no answer."""
    if answer.status is Status.OK:
        return f"{question}\n{answer.thought}"
    return f"{question}\n[{answer.status}] {answer.error or answer.thought}"


def _draw_mask(picture: RgbImage, region: Region, colour_rgb: np.ndarray, alpha: float) -> None:
    mask = region.mask
    picture[mask] = (picture[mask] * (1 - alpha) + colour_rgb * alpha).round().astype(np.uint8)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour_rgb.tolist(), _line_px(picture), cv2.LINE_AA)


def _draw_box(picture: RgbImage, region: Region, index: int, colour_rgb: np.ndarray) -> None:
    colour = colour_rgb.tolist()
    x1, y1, x2, y2 = (round(float(value)) for value in region.box_xyxy)
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour, _line_px(picture))
    # Those of a followed target belong to an earlier image.
    for x, y in region.grounding.points_xy if region.track_state in ("", "new") else ():
        cv2.circle(picture, (round(float(x)), round(float(y))), 2 * _line_px(picture), (255, 255, 255), cv2.FILLED)
    text = _ascii(f"{index + 1} {region.label}".strip() + f" {region.mask_score:.2f}")
    scale = _font_scale(picture)
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, 1)
    # Above the box where there is room, else inside it; never outside the picture.
    top = y1 - height - baseline if y1 >= height + baseline else y1
    left = max(0, min(x1, picture.shape[1] - width))
    cv2.rectangle(picture, (left, top), (left + width, top + height + baseline), colour, cv2.FILLED)
    ink = (0, 0, 0) if float(colour_rgb.mean()) > 140 else (255, 255, 255)
    cv2.putText(picture, text, (left, top + height), _FONT, scale, ink, 1, cv2.LINE_AA)


def _draw_title(picture: RgbImage, title: str) -> None:
    scale = _font_scale(picture)
    (width, height), baseline = cv2.getTextSize("m", _FONT, scale, 1)
    # "m" is the widest letter; words fit about half as many again into a line.
    width_letters = max(8, int(1.4 * picture.shape[1] / width))
    lines = [line for part in title.splitlines() for line in textwrap.wrap(_ascii(part), width_letters)]
    step = height + 2 * baseline
    band = picture[: step * len(lines) + baseline]
    band[:] = band // 4
    for row, line in enumerate(lines):
        place = (baseline, step * (row + 1) - baseline // 2)
        cv2.putText(picture, line, place, _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _font_scale(picture: RgbImage) -> float:
    return max(0.35, float(min(picture.shape[:2])) / 900)


def _line_px(picture: RgbImage) -> int:
    return max(1, round(float(min(picture.shape[:2])) / 400))

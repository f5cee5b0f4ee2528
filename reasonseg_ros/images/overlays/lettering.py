"""Text in pictures, with OpenCV's built-in fonts.

OpenCV 5 has scalable fonts for most languages. OpenCV 4 has ASCII stroke fonts only, and other characters become
question marks.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2

from reasonseg_ros.types import RgbImage

_PIXELS_AT_SCALE_1 = 30
"""Line height of the stroke letters."""


@functools.lru_cache(maxsize=4096)
def text_width_px(text: str, height_px: int, bold: bool = False) -> int:
    """Width of a line of text with that letter height."""
    if _font() is None:
        scale, thickness = height_px / _PIXELS_AT_SCALE_1, 2 if bold else 1
        return int(cv2.getTextSize(_ascii(text), cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)[0][0])
    # The extent from the origin also counts leading spaces.
    x, _, width, _ = cv2.getTextSize((10**6, 10**6), text, (0, 0), _font(), height_px, _weight(bold))
    return int(x + width)


def write_text(
    picture: RgbImage, text: str, left_baseline_xy: tuple[int, int], colour: Any, height_px: int, bold: bool = False
) -> None:
    """Write one line into the picture."""
    if _font() is None:
        scale, thickness = height_px / _PIXELS_AT_SCALE_1, 2 if bold else 1
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, _ascii(text), left_baseline_xy, font, scale, colour, thickness, cv2.LINE_AA)
        return
    cv2.putText(picture, text, left_baseline_xy, colour, _font(), height_px, _weight(bold))


def wrapped(text: str, width_px: int, most_lines: int, height_px: int, bold: bool = False) -> list[str]:
    """Up to `most_lines` lines of a text, broken at spaces, or inside words that are too long. The rest becomes `…`."""
    lines: list[str] = []
    for word in text.split():
        candidate = f"{lines[-1]} {word}" if lines else word
        if lines and text_width_px(candidate, height_px, bold) <= width_px:
            lines[-1] = candidate
            continue
        pieces = _pieces(word, width_px, height_px, bold)
        lines += pieces
        if len(lines) > most_lines:
            break
    if len(lines) <= most_lines:
        return lines
    lines = lines[:most_lines]
    while lines and lines[-1] and text_width_px(f"{lines[-1]} …", height_px, bold) > width_px:
        lines[-1] = lines[-1][:-1]
    return [*lines[:-1], f"{lines[-1].rstrip()} …"] if lines else []


def _pieces(word: str, width_px: int, height_px: int, bold: bool) -> list[str]:
    """A word in pieces that fit into a line. Languages without spaces have very long words."""
    pieces = [""]
    for letter in word[:400]:
        if pieces[-1] and text_width_px(pieces[-1] + letter, height_px, bold) > width_px:
            pieces.append("")
        pieces[-1] += letter
    return pieces


@functools.cache
def _font() -> Any:
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def _weight(bold: bool) -> int:
    return 600 if bold else 400


def _ascii(text: str) -> str:
    return text.replace("…", "...").encode("ascii", "replace").decode()

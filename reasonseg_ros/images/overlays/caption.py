"""The caption below a picture of an answer: the question, the thought, and a key of the regions' colours."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from reasonseg_ros.images.overlays.lettering import text_width_px, wrapped, write_text
from reasonseg_ros.types import RgbImage

QUESTION_LINES, TEXT_LINES = 2, 4
"""Maximum lines of the question, and of question and thought together."""
NARROWEST_LETTERS = 12
"""Minimum image width in letters. Narrower images have no caption."""

_BACKGROUND, _RULE = (24, 26, 31), (58, 62, 70)
_QUESTION, _THOUGHT = (250, 250, 250), (178, 184, 194)
_NO_TARGET, _FAILED = (240, 190, 90), (245, 115, 105)


@dataclass(frozen=True)
class Entry:
    """An entry of the key: a colour and the region's name."""

    colour_rgb: tuple[int, ...]
    name: str


@functools.lru_cache(maxsize=8)  # a tracked target has the same words on every image
def caption(size_wh: tuple[int, int], question: str, text: str, status: str, entries: tuple[Entry, ...]) -> RgbImage:
    """The caption of an image of `size_wh`, uint8 [B, W, 3]. B depends only on that size, and is 0 for narrow images.

    `status` is empty for an answer with regions.
    """
    width, height = size_wh
    letter_px = min(44, max(11, round(min(width, height) / 30)))
    if width < NARROWEST_LETTERS * letter_px:
        return np.zeros((0, width, 3), np.uint8)
    step, margin = round(1.42 * letter_px), round(0.8 * letter_px)
    small_px = max(11, round(0.9 * letter_px))
    band = np.full(((TEXT_LINES + 1) * step + 3 * margin, width, 3), _BACKGROUND, np.uint8)
    room = width - 2 * margin
    baseline = margin + letter_px
    asked = wrapped(question, room, QUESTION_LINES, letter_px, bold=True)
    for line in asked:
        write_text(band, line, (margin, baseline), _QUESTION, letter_px, bold=True)
        baseline += step
    colour = _THOUGHT
    if status:
        colour = _NO_TARGET if status in ("no_target", "unsure") else _FAILED
        text = f"{status.replace('_', ' ')}: {text}" if text else status.replace("_", " ")
    baseline += margin // 3
    for line in wrapped(text, room, TEXT_LINES - len(asked), small_px):
        write_text(band, line, (margin, baseline), colour, small_px)
        baseline += step
    _key(band, entries, margin, small_px)
    return band


def _key(band: RgbImage, entries: tuple[Entry, ...], margin: int, letter_px: int) -> None:
    """Write the last line: as many entries as fit, and the number of the others."""
    if not entries:
        return
    height, width = band.shape[:2]
    top = height - margin - round(1.42 * letter_px)
    cv2.line(band, (margin, top), (width - margin, top), _RULE, 1)
    baseline, x = height - margin, margin
    for index, entry in enumerate(entries):
        rest = f"+{len(entries) - index}"
        name = entry.name if len(entry.name) <= 40 else f"{entry.name[:39]}…"
        advance = round(1.3 * letter_px) + text_width_px(name, letter_px) + letter_px
        last = index == len(entries) - 1
        reserve = 0 if last else text_width_px("+99", letter_px)
        if x + advance - letter_px + reserve > width - margin:
            write_text(band, rest, (x, baseline), _THOUGHT, letter_px)
            return
        chip = round(0.8 * letter_px)
        cv2.rectangle(band, (x, baseline - chip), (x + chip, baseline), entry.colour_rgb, cv2.FILLED)
        write_text(band, name, (x + round(1.3 * letter_px), baseline), _QUESTION, letter_px)
        x += advance

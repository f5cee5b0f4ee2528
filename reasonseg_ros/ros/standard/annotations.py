"""Answers as foxglove_msgs/ImageAnnotations: outlines, points, names, and the question with its reason as text.

`messages` is the module `foxglove_msgs.msg`, which is not installed everywhere. Coordinates are pixels from the corner
of the image, so the centre of the first pixel is at 0.5.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray

from reasonseg_ros.images.overlays.drawing import answer_title, colours
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.ros.conversion import header_message
from reasonseg_ros.types import Region

LINE_LOOP = 2
"""PointsAnnotation.LINE_LOOP, a closed polygon."""
FILL_ALPHA = 0.15
TEXT_SHARE, TEXT_PX = 0.035, 9.0
"""Height of letters as a share of the image's height, and its minimum."""
LETTER_WIDTH = 0.55
"""Width of letters, as a share of their height."""
MOST_LINES = 6
MOST_OUTLINES, MOST_POINTS = 100, 2000
"""Maximum outlines of a mask, and points of an outline: a ragged mask would make a message larger than the mask."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def image_annotations(messages: Any, outcome: Outcome) -> Any | None:
    """ImageAnnotations of an outcome with an image; they replace those of the previous outcome."""
    frame = outcome.frame
    if frame is None:
        return None
    stamp = header_message(frame).stamp
    height_px = max(TEXT_PX, TEXT_SHARE * frame.size_wh[1])
    annotations = messages.ImageAnnotations()
    annotations.texts = _title(messages, stamp, outcome, height_px, frame.size_wh[0])
    for number, (region, rgb) in enumerate(zip(outcome.regions, colours(frame.rgb, outcome.regions), strict=True), 1):
        annotations.points += [_outline(messages, stamp, outline, rgb) for outline in _outlines(region)]
        annotations.circles += _grounding_points(messages, stamp, region, rgb, height_px / 2)
        name = f"{region.label or number} {region.mask_score:.2f}"
        corner_xy = float(region.box_xyxy[0]), max(float(region.box_xyxy[1]), height_px)
        annotations.texts.append(_text(messages, stamp, name, corner_xy, height_px, rgb))
    return annotations


def _title(messages: Any, stamp: Time, outcome: Outcome, height_px: float, width_px: int) -> list[Any]:
    """Question and reason, one annotation per line, from the top of the image down."""
    letters = max(12, int(width_px / (LETTER_WIDTH * height_px)))
    title = answer_title(outcome.question.query.text, outcome.answer)
    lines = [piece for line in title.splitlines() for piece in textwrap.wrap(line, letters)]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], textwrap.shorten(lines[MOST_LINES - 1] + " ...", letters + 4)]
    return [
        _text(messages, stamp, line, (0.0, (index + 1) * 1.3 * height_px), height_px, WHITE)
        for index, line in enumerate(lines)
    ]


def _text(
    messages: Any,
    stamp: Time,
    text: str,
    corner_xy: tuple[float, float],
    height_px: float,
    rgb: Sequence[int] | NDArray[Any],
) -> Any:
    """A text whose bottom left corner is there."""
    return messages.TextAnnotation(
        timestamp=stamp,
        position=messages.Point2(x=corner_xy[0], y=corner_xy[1]),
        text=text,
        font_size=height_px,
        text_color=_color(messages, rgb),
        background_color=_color(messages, BLACK, 0.6),
    )


def _outlines(region: Region) -> list[NDArray[np.int32]]:
    """The outer outlines of the mask's largest parts, int32 [N, 2] each; straight lines keep only their ends."""
    found, _ = cv2.findContours(region.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if len(found) > MOST_OUTLINES:
        found = sorted(found, key=cv2.contourArea, reverse=True)[:MOST_OUTLINES]
    return [outline[:: 1 + len(outline) // MOST_POINTS, 0] for outline in found]


def _outline(messages: Any, stamp: Time, outline: NDArray[np.int32], rgb: Sequence[int] | NDArray[Any]) -> Any:
    return messages.PointsAnnotation(
        timestamp=stamp,
        type=LINE_LOOP,
        points=[messages.Point2(x=float(x) + 0.5, y=float(y) + 0.5) for x, y in outline],
        outline_color=_color(messages, rgb),
        fill_color=_color(messages, rgb, FILL_ALPHA),
        thickness=2.0,
    )


def _grounding_points(
    messages: Any, stamp: Time, region: Region, rgb: Sequence[int] | NDArray[Any], diameter_px: float
) -> list[Any]:
    """Points of the reasoner. Those of a tracked target belong to an earlier image and are left out."""
    if region.track_state not in ("", "new"):
        return []
    return [
        messages.CircleAnnotation(
            timestamp=stamp,
            position=messages.Point2(x=float(x) + 0.5, y=float(y) + 0.5),
            diameter=diameter_px,
            thickness=2.0,
            fill_color=_color(messages, WHITE),
            outline_color=_color(messages, rgb),
        )
        for x, y in region.grounding.points_xy
    ]


def _color(messages: Any, rgb: Sequence[int] | NDArray[Any], alpha: float = 1.0) -> Any:
    red, green, blue = (float(value) / 255 for value in rgb)
    return messages.Color(r=red, g=green, b=blue, a=alpha)

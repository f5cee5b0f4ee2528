"""Polygons of the ReasonSeg annotation, drawn as its authors draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput

TARGET, IGNORE = 1, 255
FARTHEST_PX = 1_000_000
"""Coordinates beyond this are damage, not a polygon that leaves the image."""


def draw_shapes(shapes: Sequence[Any], size_wh: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Label image uint8 [H, W] (0, TARGET, IGNORE) and one line for each shape that was left out as broken.

    Shapes labelled "flag" are no part of the annotation. Points are cut to integers; each polygon is drawn as an
    outline of one pixel and its filling, the largest first, so that smaller ones lie on top. So one point is a pixel,
    and two are a line.
    Raises InvalidInput if every target polygon is broken.
    """
    drawn: list[tuple[int, NDArray[np.int32]]] = []
    areas: list[int] = []
    broken: list[str] = []
    broken_targets = 0
    for number, shape in enumerate(shapes, 1):
        label = shape.get("label") if isinstance(shape, dict) else None
        if isinstance(label, str) and label.lower() == "flag":
            continue
        try:
            if not isinstance(label, str):
                raise InvalidInput("it has no label; write target or ignore")
            value = IGNORE if "ignore" in label.lower() else TARGET
            points = _points(shape.get("points"))
            area = int(np.count_nonzero(_draw(np.zeros(size_wh[::-1], np.uint8), points, 1)))
            if not area:
                raise InvalidInput(f"it lies outside the image of {size_wh[0]} x {size_wh[1]}; check the image's size")
        except InvalidInput as error:
            broken.append(f"polygon {number} ({label}) is left out: {error}")
            broken_targets += label is None or "ignore" not in str(label).lower()
        else:
            drawn.append((value, points))
            areas.append(area)
    if broken_targets and all(value == IGNORE for value, _ in drawn):
        raise InvalidInput(f"no usable target polygon; {broken[0]}")
    labels = np.zeros(size_wh[::-1], np.uint8)
    # Of two with the same area the one that is listed later is drawn first.
    for index in np.argsort(areas, kind="stable")[::-1]:
        value, points = drawn[index]
        _draw(labels, points, value)
    return labels, tuple(broken)


def _points(values: Any) -> NDArray[np.int32]:
    """int32 [P, 2] of one point at least. Raises InvalidInput."""
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InvalidInput("its points are no list of [x, y]; draw it again")
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > FARTHEST_PX:
        raise InvalidInput("a coordinate is no number of pixels; draw it again")
    return points.astype(np.int32)


def _draw(image: NDArray[np.uint8], points: NDArray[np.int32], value: int) -> NDArray[np.uint8]:
    cv2.polylines(image, [points], True, value, 1)
    cv2.fillPoly(image, [points], value)
    return image

"""Shapes of the ReasonSeg annotation, drawn as its authors draw them.

Annotations in this format are drawn with labelme, whose other shapes (`shape_type`) are not polygons of their points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput

TARGET, IGNORE = 1, 255
FARTHEST_PX = 1_000_000
"""Coordinates beyond this are damage, not a polygon that extends beyond the image."""
CIRCLE_POINTS = 128
_DRAWN_AS_THEY_ARE = (None, "", "polygon", "rotation", "line", "point")


def draw_shapes(shapes: Sequence[Any], size_wh: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Label image uint8 [H, W] (0, TARGET, IGNORE) and one line for each shape that was left out as broken.

    Shapes labelled "flag" are not part of the annotation. Points are truncated to integers. Each polygon is filled and
    outlined with one pixel, the largest first, so that smaller ones lie on top. So one point is a pixel, and two are a
    line. Two points of a rectangle are its corners; those of a circle are its centre and a point on it.
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
            points = _outline(shape.get("shape_type"), shape.get("points"))
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
    # Of two with the same area, the one listed later is drawn first.
    for index in np.argsort(areas, kind="stable")[::-1]:
        value, points = drawn[index]
        _draw(labels, points, value)
    return labels, tuple(broken)


def _outline(shape_type: Any, values: Any) -> NDArray[np.int32]:
    """int32 [P, 2], the corners of a shape. Raises InvalidInput for types of shapes that have no polygon."""
    points = _points(values)
    if shape_type == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        points = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    elif shape_type == "circle" and len(points) == 2:
        radius = np.hypot(*(points[1] - points[0]))
        angles = np.linspace(0, 2 * np.pi, CIRCLE_POINTS, endpoint=False)
        points = points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        points = np.rint(points)
    elif shape_type not in (*_DRAWN_AS_THEY_ARE, "rectangle") or (shape_type == "rectangle" and len(points) != 4):
        raise InvalidInput(f"its shape_type is {shape_type!r:.40}, of {len(points)} points; draw it as a polygon")
    corners: NDArray[np.int32] = points.astype(np.int32)
    return corners


def _points(values: Any) -> NDArray[np.float64]:
    """float64 [P, 2] of at least one point. Raises InvalidInput."""
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InvalidInput("its points are no list of [x, y]; draw it again")
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > FARTHEST_PX:
        raise InvalidInput("a coordinate is not a number of pixels; draw it again")
    return points


def _draw(image: NDArray[np.uint8], points: NDArray[np.int32], value: int) -> NDArray[np.uint8]:
    cv2.polylines(image, [points], True, value, 1)
    cv2.fillPoly(image, [points], value)
    return image

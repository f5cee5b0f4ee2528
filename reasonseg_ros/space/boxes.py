"""Oriented boxes around points in space."""

from __future__ import annotations

import cv2
import numpy as np

from reasonseg_ros.space.planes import Plane
from reasonseg_ros.spatial import OrientedBox
from reasonseg_ros.types import Points

REST_M = 0.012
"""A target whose lowest visible point is this near to the support stands on it."""


def box_on_plane(points_m: Points, plane: Plane) -> OrientedBox:
    """The box with the smallest footprint on the plane around points [N, 3]. It reaches the plane if they come near."""
    x_axis = np.cross(plane.normal, np.eye(3)[np.argmin(np.abs(plane.normal))])
    x_axis /= np.linalg.norm(x_axis)
    y_axis = np.cross(plane.normal, x_axis)
    flat = np.stack([points_m @ x_axis, points_m @ y_axis], 1)
    origin = flat.mean(0)  # subtracted, because float32 is precise near zero
    (u, v), sides, angle_deg = cv2.minAreaRect((flat - origin).astype(np.float32))
    angle = np.radians(angle_deg)
    along = np.cos(angle) * x_axis + np.sin(angle) * y_axis
    across = np.cross(plane.normal, along)
    heights = plane.heights_m(points_m)
    low, high = float(heights.min()), float(heights.max())
    low = 0.0 if low < REST_M else low
    center = (u + origin[0]) * x_axis + (v + origin[1]) * y_axis + (plane.offset_m + (low + high) / 2) * plane.normal
    length, width = sides
    if width > length:
        along, across, length, width = across, -along, width, length
    return OrientedBox(center, np.stack([along, across, plane.normal], 1), np.array([length, width, high - low]))


def box_by_spread(points_m: Points) -> OrientedBox:
    """The box along the principal axes of points [N, 3]: x is the longest, z the shortest and towards the camera."""
    middle = points_m.mean(0)
    axes = np.linalg.svd(points_m - middle, full_matrices=False)[2].T
    if axes[:, 2] @ middle > 0:
        axes[:, 2] *= -1
    axes[:, 1] = np.cross(axes[:, 2], axes[:, 0])
    spread = (points_m - middle) @ axes
    low, high = spread.min(0), spread.max(0)
    return OrientedBox(middle + axes @ ((low + high) / 2), axes, high - low)

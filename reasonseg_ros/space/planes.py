"""Fits the plane on which a target may stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasonseg_ros.types import Points

MIN_POINTS = 12
MIN_SUPPORT_SHARE = 0.4
"""Minimum share of the surroundings that lie on the plane."""
MIN_ABOVE_SHARE = 0.9
"""Minimum share of the target above the plane; otherwise it does not stand on it."""
PART_HEIGHT_M = 0.3
"""A target that is a part of an object may be this high above the object's support. A plane farther off is none."""
MAX_PLANE_POINTS = 1500
TRIALS = 100


@dataclass(frozen=True, eq=False)
class Plane:
    """Points with `normal @ point = offset_m`; the unit normal points to the camera's side.

    `noise_m` is the spread of the depth on it.
    """

    normal: Points
    offset_m: float
    noise_m: float

    def heights_m(self, points_m: Points) -> Points:
        """Signed distances [N] of points [N, 3], above it positive."""
        return points_m @ self.normal - self.offset_m


def fit_plane(points_m: Points) -> Plane | None:
    """The plane with most of the points [N, 3] on it; None if it has less than MIN_SUPPORT_SHARE of them.

    RANSAC (Fischler and Bolles, 1981) with a fixed seed, then least squares on the inliers.
    """
    if len(points_m) < MIN_POINTS:
        return None
    rng = np.random.default_rng(0)
    some = points_m[:: -(-len(points_m) // MAX_PLANE_POINTS)]
    tolerance_m = 0.005 * float(np.median(some[:, 2]))
    corners = some[rng.integers(len(some), size=(TRIALS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    is_plane = lengths > 1e-12
    if not is_plane.any():
        return None
    normals = normals[is_plane] / lengths[is_plane, None]
    distances = np.abs(some @ normals.T - np.sum(corners[is_plane, 0] * normals, 1))
    counts = np.count_nonzero(distances < tolerance_m, axis=0)
    best = int(np.argmax(counts))
    if counts[best] < MIN_SUPPORT_SHARE * len(some):
        return None
    on_it = some[distances[:, best] < tolerance_m]
    middle = on_it.mean(0)
    normal = np.linalg.svd(on_it - middle, full_matrices=False)[2][2]
    if normal @ middle > 0:
        normal = -normal
    noise_m = 1.4826 * float(np.median(np.abs((on_it - middle) @ normal)))
    return Plane(normal, float(normal @ middle), max(noise_m, 0.0007))


def may_rest_on(plane: Plane, points_m: Points) -> bool:
    """Whether the points [N, 3], or the object of which they are a part, may stand on the plane."""
    if not len(points_m):
        return False
    heights = plane.heights_m(points_m)
    is_above = np.mean(heights > -3 * plane.noise_m) >= MIN_ABOVE_SHARE
    reach_m = max(float(np.linalg.norm(np.ptp(points_m, axis=0))), PART_HEIGHT_M)
    return bool(is_above and np.median(heights) < reach_m)

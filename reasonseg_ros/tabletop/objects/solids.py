"""The solids that objects are made of, each belonging to a named part. This module does not need MuJoCo.

In an object's frame, the table is at z = 0, and x and y are horizontal. All lengths are in metres.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.types import Points

Vec3 = tuple[float, float, float]

MAIN = "main"  # painted in the object's colour
LABEL = "label"  # pale print, slate on white objects
_SEGMENTS = 24


@dataclass(frozen=True)
class Solid:
    """One primitive, or a lathed mesh.

    Attributes:
        kind: box, cylinder, capsule, ellipsoid or lathe.
        size: as in MuJoCo: half lengths, or radius and half length.
        quat_wxyz: rotation from the solid's frame to the object's.
        paint: MAIN, LABEL, or an RGB colour.
        shade: factor on a MAIN colour.
        profile: (radius, z) rows of a lathe, closed along the axis, counterclockwise in the (radius, z) plane.
        solid: whether it takes part in contacts.
    """

    part: str
    kind: str
    size: tuple[float, ...]
    position: Vec3
    quat_wxyz: tuple[float, float, float, float]
    paint: str | Vec3 = MAIN
    shade: float = 1.0
    profile: tuple[tuple[float, float], ...] = ()
    solid: bool = True

    def hulls(self) -> list[Points]:
        """Surface points [N, 3], in the object's frame, of convex pieces that together fill the solid."""
        if self.kind == "lathe":
            rings = _rings(self.profile)
            pieces = [np.concatenate(pair) for pair in pairwise(rings)]
        else:
            pieces = [_PRIMITIVE_POINTS[self.kind](self.size)]
        rotation = rotation_from_quat(self.quat_wxyz)
        return [piece @ rotation.T + np.asarray(self.position) for piece in pieces]


@dataclass(frozen=True, eq=False)
class Shape:
    """The shape of an object. `rests` are the rotations [3, 3] of its resting poses, the usual one first."""

    category: str
    solids: tuple[Solid, ...]
    rests: tuple[NDArray[np.float64], ...]
    hulls: tuple[Points, ...] = field(init=False, repr=False)
    points: Points = field(init=False, repr=False)

    def __post_init__(self) -> None:
        hulls = tuple(hull for solid in self.solids for hull in solid.hulls())
        object.__setattr__(self, "hulls", hulls)
        object.__setattr__(self, "points", np.concatenate(hulls))


def lathe_mesh(profile: tuple[tuple[float, float], ...]) -> tuple[Points, NDArray[np.int32]]:
    """Vertices [V, 3] and outward triangles [F, 3] of a closed solid of revolution."""
    rings = _rings(profile)
    starts = np.cumsum([0] + [len(ring) for ring in rings])
    faces = []
    for low, high, a, b in zip(rings[:-1], rings[1:], starts[:-2], starts[1:-1], strict=True):
        for i in range(_SEGMENTS):
            j = (i + 1) % _SEGMENTS
            if len(low) > 1:
                faces.append((a + i, a + j, b + (j if len(high) > 1 else 0)))
            if len(high) > 1:
                faces.append((a + (i if len(low) > 1 else 0), b + j, b + i))
    return np.concatenate(rings), np.array(faces, np.int32)


def rotation_from_quat(quat_wxyz: tuple[float, ...] | Points) -> NDArray[np.float64]:
    """Rotation matrix [3, 3] of a unit quaternion."""
    w, x, y, z = quat_wxyz
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_about(axis: str, angle_rad: float) -> NDArray[np.float64]:
    """Rotation matrix [3, 3] about "x", "y" or "z"."""
    half = angle_rad / 2
    return rotation_from_quat((math.cos(half), *(math.sin(half) * (name == axis) for name in "xyz")))


def _rings(profile: tuple[tuple[float, float], ...]) -> list[Points]:
    angles = np.arange(_SEGMENTS) * (2 * math.pi / _SEGMENTS)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    rings = []
    for radius, z in profile:
        ring = circle * radius if radius > 0 else np.zeros((1, 2))
        rings.append(np.concatenate([ring, np.full((len(ring), 1), z)], 1))
    return rings


def _box_points(size: tuple[float, ...]) -> Points:
    return np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.asarray(size)


def _cylinder_points(size: tuple[float, ...]) -> Points:
    return np.concatenate(_rings(((size[0], -size[1]), (size[0], size[1]))))


def _ball_points(radii: tuple[float, ...]) -> Points:
    rows = [(math.cos(a), math.sin(a)) for a in np.linspace(-math.pi / 2, math.pi / 2, 9)]
    return np.concatenate(_rings(tuple((max(r, 0.0), z) for r, z in rows))) * np.asarray(radii)


def _capsule_points(size: tuple[float, ...]) -> Points:
    ball = _ball_points((size[0],) * 3)
    end = np.array([0, 0, size[1]])
    return np.concatenate([ball + end, ball - end])


_PRIMITIVE_POINTS: dict[str, Callable[[tuple[float, ...]], Points]] = {
    "box": _box_points,
    "cylinder": _cylinder_points,
    "capsule": _capsule_points,
    "ellipsoid": _ball_points,
}

"""Builds the solids of one object from lengths at its nominal size."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from reasonseg_ros.tabletop.objects.solids import MAIN, Solid, Vec3


class Builder:
    """Collects solids. Lengths are given for the nominal size, and scaled here."""

    def __init__(self, scale: float, rng: np.random.Generator) -> None:
        self.scale = scale
        self.solids: list[Solid] = []
        self._rng = rng

    def about(self, value: float, spread: float = 0.12) -> float:
        """The value times a random factor from 1 - spread to 1 + spread."""
        return float(value * self._rng.uniform(1 - spread, 1 + spread))

    def pick(self, *choices: Vec3) -> Vec3:
        return choices[int(self._rng.integers(len(choices)))]

    def box(
        self, part: str, half: Vec3, at: Vec3, yaw: float = 0.0, paint: str | Vec3 = MAIN, shade: float = 1.0
    ) -> None:
        self._add(part, "box", half, at, (math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)), paint, shade)

    def ball(self, part: str, radii: Vec3, at: Vec3, paint: str | Vec3 = MAIN, solid: bool = True) -> None:
        self._add(part, "ellipsoid", radii, at, (1, 0, 0, 0), paint, 1.0, solid=solid)

    def rod(
        self,
        part: str,
        radius: float,
        start: Vec3,
        end: Vec3,
        paint: str | Vec3 = MAIN,
        shade: float = 1.0,
        round_ends: bool = False,
        solid: bool = True,
    ) -> None:
        """A cylinder along a line, or with `round_ends` a capsule, whose half balls extend beyond both points."""
        line = np.subtract(end, start)
        length = float(np.linalg.norm(line))
        x, y, z = line / length
        if z < -0.999999:
            quat = (0.0, 1.0, 0.0, 0.0)
        else:  # the shortest rotation of the z axis onto the line
            w = math.sqrt((1 + z) / 2)
            quat = (w, -y / (2 * w), x / (2 * w), 0.0)
        kind = "capsule" if round_ends else "cylinder"
        middle = tuple(np.add(start, end) / 2)
        self._add(part, kind, (radius, length / 2), middle, quat, paint, shade, solid=solid)

    def chain(self, part: str, radius: float, points: list[Vec3], paint: str | Vec3 = MAIN, shade: float = 1.0) -> None:
        for start, end in pairwise(points):
            self.rod(part, radius, start, end, paint, shade, round_ends=True)

    def lathe(self, part: str, profile: list[tuple[float, float]]) -> None:
        scaled = tuple((r * self.scale, z * self.scale) for r, z in profile)
        self.solids.append(Solid(part, "lathe", (), (0, 0, 0), (1, 0, 0, 0), profile=scaled))

    def _add(
        self,
        part: str,
        kind: str,
        size: tuple[float, ...],
        at: Vec3,
        quat: tuple[float, float, float, float],
        paint: str | Vec3,
        shade: float,
        solid: bool = True,
    ) -> None:
        k = self.scale
        place = (at[0] * k, at[1] * k, at[2] * k)
        self.solids.append(Solid(part, kind, tuple(s * k for s in size), place, quat, paint, shade, solid=solid))

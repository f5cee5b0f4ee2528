"""The plan of a video, drawn from a seed: its objects, and the actions on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.tabletop.layout import (
    Layout,
    Placed,
    draw_look,
    draw_object,
    draw_paint,
    fits,
    footprint,
    in_view,
    moved,
    rest_on_table,
)
from reasonseg_ros.tabletop.objects.household import NATURAL_COLORS, VARIANTS
from reasonseg_ros.tabletop.objects.solids import Shape
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS
from reasonseg_ros.tabletop.videos.video import EVENT_KINDS

# Objects for each event, as (category, index of the resting pose).
_ACTORS: dict[str, tuple[tuple[str, int], ...]] = {
    "pushed": tuple((name, 0) for name in CATEGORIES if name != "apple"),
    "rolled": (("can", 1), ("bottle", 1)),
    "fell": (("bottle", 0), ("can", 0), ("flashlight", 1)),
    "put_down": tuple((name, 0) for name in ("mug", "bowl", "bottle", "can", "apple", "banana", "book", "sponge")),
    "hidden": tuple((name, 0) for name in ("apple", "sponge", "pen", "screwdriver", "flashlight", "knife")),
}
_HIDERS = ("mug", "bowl", "can", "bottle")


@dataclass(frozen=True, eq=False)
class Act:
    """An action on one object, from one time to another."""

    kind: str
    index: int
    start_s: float
    end_s: float
    velocity_m_s: NDArray[np.float64]


def plan_acts(
    rng: np.random.Generator, shapes: tuple[Shape, ...], size_wh: tuple[int, int], duration_s: float
) -> tuple[Layout, list[Act]] | None:
    """Objects and the actions on them; None if there is no room."""
    look = draw_look(rng)
    kind = str(rng.choice(EVENT_KINDS))
    camera = replace(look.camera, distance_m=look.camera.distance_m + 0.1)
    if kind == "hidden":  # one object hides another only from a low camera
        camera = replace(camera, elevation_deg=float(-rng.uniform(20, 28)))
    stage = _Stage(rng, shapes, Layout(replace(look, camera=camera), ()), size_wh)
    first_s = (0.12 * duration_s, 0.12 * duration_s + 0.9)
    second_s = (0.5 * duration_s, 0.5 * duration_s + 0.7)
    if not (stage.add_hiding(*first_s) if kind == "hidden" else stage.add_act(kind, *first_s)):
        return None
    other = str(rng.choice(EVENT_KINDS[:4]))
    if other != kind and rng.uniform() < 0.5:
        stage.add_act(other, *second_s)
    stage.add_bystanders(int(rng.integers(3, 7)))
    return Layout(stage.layout.look, tuple(stage.placed)), stage.acts


class _Stage:
    """Collects objects and acts that do not collide. `taken` also holds the space along their paths."""

    def __init__(
        self, rng: np.random.Generator, shapes: tuple[Shape, ...], layout: Layout, size_wh: tuple[int, int]
    ) -> None:
        self.rng, self.shapes, self.layout, self.size_wh = rng, shapes, layout, size_wh
        self.placed: list[Placed] = []
        self.taken: list[Any] = []
        self.acts: list[Act] = []

    def add_act(self, kind: str, start_s: float, end_s: float) -> bool:
        for _ in range(40):
            choices = _ACTORS[kind]
            item = self._draw(*choices[int(self.rng.integers(len(choices)))], self._anywhere())
            velocity = self._velocity(kind, item)
            path = [item, *(_shifted(item, velocity * share * (end_s - start_s)) for share in (0.35, 0.7, 1.0))]
            if kind == "rolled":  # it continues to roll for a while
                path.append(_shifted(item, velocity * 1.5 * (end_s - start_s)))
            if self._free(path):
                self._take(item, path)
                self.acts.append(Act(kind, len(self.placed) - 1, start_s, end_s, velocity))
                return True
        return False

    def add_hiding(self, start_s: float, end_s: float) -> bool:
        """Add a target, and another object that is pushed sideways until it occludes the target. False if no room."""
        camera_m = self.layout.look.camera.table_from_camera()[:2, 3]
        for _ in range(60):
            at = self.rng.uniform((-0.12, 0.0), (0.12, 0.16))
            sight = (at - camera_m) / np.linalg.norm(at - camera_m)
            along = math.atan2(sight[1], sight[0]) + self.rng.uniform(
                -0.25, 0.25
            )  # seen end-on, so that it is easy to occlude
            choices = _ACTORS["hidden"]
            target = self._draw(*choices[int(self.rng.integers(len(choices)))], (float(at[0]), float(at[1])), along)
            hider = self._draw(_HIDERS[int(self.rng.integers(len(_HIDERS)))], 0, (0.0, 0.0))
            nearest = (target.points(self.shapes)[:, :2] @ sight).min() - at @ sight
            depth = (hider.points(self.shapes)[:, :2] @ sight).max()
            last = _shifted(hider, np.append(at + sight * (nearest - depth - 0.012), 0))
            side = float(self.rng.choice([-1, 1]))
            travel = np.array([sight[1], -sight[0], 0.0]) * side * 0.2
            path = [_shifted(last, -travel * share) for share in (1.0, 0.66, 0.33, 0.0)]
            if not self._free([target]) or not self._free(path):
                continue
            own = [footprint(target.points(self.shapes))]
            if any(not fits(spot.points(self.shapes), own) for spot in path):
                continue
            self._take(target, [target])
            self._take(path[0], path)
            self.acts.append(Act("hidden", 0, start_s, end_s, np.zeros(3)))
            self.acts.append(Act("pushed", 1, start_s, end_s, travel / (end_s - start_s)))
            return True
        return False

    def add_bystanders(self, total: int) -> None:
        for _ in range(120):
            if len(self.placed) >= total:
                return
            item = draw_object(self.rng, self.shapes, (0.26, 0.2))
            if self._free([item]):
                self._take(item, [item])

    def _draw(self, category: str, rest: int, at_m: tuple[float, float], yaw_rad: float | None = None) -> Placed:
        index = CATEGORIES.index(category) * VARIANTS + int(self.rng.integers(VARIANTS))
        color = str(self.rng.choice(NATURAL_COLORS.get(category, COLORS)))
        yaw = float(self.rng.uniform(0, 2 * math.pi)) if yaw_rad is None else yaw_rad
        return rest_on_table(self.shapes, index, color, draw_paint(self.rng, color), rest, yaw, at_m)

    def _anywhere(self) -> tuple[float, float]:
        x, y = self.rng.uniform((-0.24, -0.18), (0.24, 0.18)).tolist()
        return x, y

    def _velocity(self, kind: str, item: Placed) -> NDArray[np.float64]:
        if kind == "put_down":
            return np.zeros(3)
        angle = self.rng.uniform(0, 2 * math.pi)
        if kind == "rolled":  # across the axis, which is the object's z
            angle = math.atan2(item.rotation[1, 2], item.rotation[0, 2]) + self.rng.choice([-1, 1]) * math.pi / 2
        speed = {"pushed": 0.2, "rolled": 0.2, "fell": 0.15}[kind] * self.rng.uniform(0.9, 1.3)
        return np.array([math.cos(angle), math.sin(angle), 0.0]) * speed

    def _free(self, path: list[Placed]) -> bool:
        shape = self.shapes[path[0].shape_index]
        alike = [other for other in self.placed if self.shapes[other.shape_index].category == shape.category]
        if any(other.shape_index == path[0].shape_index or other.color == path[0].color for other in alike):
            return False
        spots = [item.points(self.shapes) for item in path]
        return all(fits(spot, self.taken) and in_view(spot, self.layout.look.camera, self.size_wh) for spot in spots)

    def _take(self, item: Placed, path: list[Placed]) -> None:
        self.placed.append(item)
        self.taken += [footprint(spot.points(self.shapes)) for spot in path]


def _shifted(item: Placed, shift_m: NDArray[np.float64]) -> Placed:
    return moved(item, item.position_m + shift_m, item.rotation)

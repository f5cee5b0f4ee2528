"""Short videos in which something happens on the table, moved by physics, each event checked to really show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput, RenderError
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
from reasonseg_ros.tabletop.objects import NATURAL_COLORS, VARIANTS, Shape, rotation_from_quat
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS, Scene

if TYPE_CHECKING:
    from reasonseg_ros.tabletop.world import World

EVENT_KINDS = ("pushed", "rolled", "fell", "put_down", "hidden")
SHORTEST_S = 2.0

# Who can do it, as (category, rest).
_ACTORS: dict[str, tuple[tuple[str, int], ...]] = {
    "pushed": tuple((name, 0) for name in CATEGORIES if name != "apple"),
    "rolled": (("can", 1), ("bottle", 1)),
    "fell": (("bottle", 0), ("can", 0), ("flashlight", 1)),
    "put_down": tuple((name, 0) for name in ("mug", "bowl", "bottle", "can", "apple", "banana", "book", "sponge")),
    "hidden": tuple((name, 0) for name in ("apple", "sponge", "pen", "screwdriver", "flashlight", "knife")),
}
_HIDERS = ("mug", "bowl", "can", "bottle")
_ATTEMPTS = 80
_STEP_S = 0.004
_AWAY_Z_M = -3.0  # below the floor, out of sight
_DROP_M = 0.28
_STILL_M, _STILL_RAD = 0.003, 0.06
_MOVED_M = 0.08


@dataclass(frozen=True)
class Event:
    """Something that happened to one object.

    Attributes:
        kind: one of EVENT_KINDS.
        first_frame: the first frame that differs from how it was before.
        last_frame: the first frame from which it stays as it is.
    """

    kind: str
    instance_id: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True, eq=False)
class Video:
    """Frames at a steady rate and what happens in them. An object keeps its instance id in all frames."""

    seed: int
    rate_hz: float
    scenes: tuple[Scene, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, eq=False)
class _Act:
    """What is done to one object, from one time to another."""

    kind: str
    index: int
    start_s: float
    end_s: float
    velocity_m_s: NDArray[np.float64]


def film(world: World, seed: int, frames: int = 24, rate_hz: float = 8.0) -> Video:
    """The video of a seed: one or two events among three to six objects, the others untouched.

    Raises:
        InvalidInput: the video is shorter than SHORTEST_S.
    """
    if rate_hz <= 0 or frames / rate_hz < SHORTEST_S:
        raise InvalidInput(f"{frames} frames at {rate_hz} Hz: a video lasts at least {SHORTEST_S} s; add frames")
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, 2, attempt])
        plan = _plan(rng, world.shapes, world.size_wh, frames / rate_hz)
        if plan is None:
            continue
        layouts = [replace(plan[0], placed=placed) for placed in _simulate(world, *plan, frames, rate_hz)]
        if not _moved_as_planned(world, layouts, plan[1]):
            continue
        world.dress(plan[0].look)
        first, last = world.render(seed, layouts[0]), world.render(seed, layouts[-1])
        if not _shows(first, last, plan[1]):
            continue
        scenes = (first, *(world.render(seed, layout) for layout in layouts[1:-1]), last)
        return Video(seed, rate_hz, scenes, _events(layouts, scenes, plan[1]))
    raise RenderError(f"video seed {seed}: no arrangement worked in {_ATTEMPTS} attempts; use another seed")


def _plan(
    rng: np.random.Generator, shapes: tuple[Shape, ...], size_wh: tuple[int, int], duration_s: float
) -> tuple[Layout, list[_Act]] | None:
    """Objects and what will be done to them, or None where there was no room."""
    look = draw_look(rng)
    kind = str(rng.choice(EVENT_KINDS))
    camera = replace(look.camera, distance_m=look.camera.distance_m + 0.1)
    if kind == "hidden":  # only a low camera lets one object stand before another
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
    """Collects objects and acts that have room beside each other. `taken` also holds where they will pass."""

    def __init__(
        self, rng: np.random.Generator, shapes: tuple[Shape, ...], layout: Layout, size_wh: tuple[int, int]
    ) -> None:
        self.rng, self.shapes, self.layout, self.size_wh = rng, shapes, layout, size_wh
        self.placed: list[Placed] = []
        self.taken: list[Any] = []
        self.acts: list[_Act] = []

    def add_act(self, kind: str, start_s: float, end_s: float) -> bool:
        for _ in range(40):
            choices = _ACTORS[kind]
            item = self._draw(*choices[int(self.rng.integers(len(choices)))], self._anywhere())
            velocity = self._velocity(kind, item)
            path = [item, *(_shifted(item, velocity * share * (end_s - start_s)) for share in (0.35, 0.7, 1.0))]
            if kind == "rolled":  # it rolls on for a while
                path.append(_shifted(item, velocity * 1.5 * (end_s - start_s)))
            if self._free(path):
                self._take(item, path)
                self.acts.append(_Act(kind, len(self.placed) - 1, start_s, end_s, velocity))
                return True
        return False

    def add_hiding(self, start_s: float, end_s: float) -> bool:
        """A target, and another object that is pushed sideways until it stands before it."""
        camera_m = self.layout.look.camera.table_from_camera()[:2, 3]
        for _ in range(60):
            at = self.rng.uniform((-0.12, 0.0), (0.12, 0.16))
            sight = (at - camera_m) / np.linalg.norm(at - camera_m)
            along = math.atan2(sight[1], sight[0]) + self.rng.uniform(-0.25, 0.25)  # seen end on, so that it can hide
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
            self.acts.append(_Act("hidden", 0, start_s, end_s, np.zeros(3)))
            self.acts.append(_Act("pushed", 1, start_s, end_s, travel / (end_s - start_s)))
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
        if kind == "rolled":  # across the axis, which lies along the object's own z
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


def _simulate(
    world: World, layout: Layout, acts: list[_Act], frames: int, rate_hz: float
) -> Iterator[tuple[Placed, ...]]:
    """The places of all objects at each frame. A model of only these objects is stepped, as it is small."""
    mj = world.mujoco
    model = world.compile_physics(tuple(world.shapes[item.shape_index] for item in layout.placed), _STEP_S)
    data = mj.MjData(model)
    for i, item in enumerate(layout.placed):
        data.qpos[7 * i : 7 * i + 3] = item.position_m
        mj.mju_mat2Quat(data.qpos[7 * i + 3 : 7 * i + 7], item.rotation.ravel())
    rest = data.qpos.copy()
    mj.mj_forward(model, data)
    for act in acts:
        if act.kind == "put_down":
            data.qpos[7 * act.index + 2] = _AWAY_Z_M
    time_s = 0.0
    start_s = {act.index: act.start_s for act in acts if act.kind != "hidden"}
    for frame in range(frames):
        while time_s < frame / rate_hz:
            for i in range(len(layout.placed)):  # whoever has no part in it yet is held where it is
                if time_s < start_s.get(i, math.inf):
                    data.qpos[7 * i : 7 * i + 7] = rest[7 * i : 7 * i + 7]
                    data.qvel[6 * i : 6 * i + 6] = 0
            for act in acts:
                _drive(model, data, act, time_s, rest, layout.placed[act.index].points(world.shapes))
            mj.mj_step(model, data)
            time_s += _STEP_S
        poses = data.qpos.reshape(-1, 7)
        yield tuple(
            moved(item, pose[:3].copy(), rotation_from_quat(pose[3:]))
            for item, pose in zip(layout.placed, poses, strict=True)
        )


def _drive(
    model: Any, data: Any, act: _Act, time_s: float, rest: NDArray[np.float64], points_m: NDArray[np.float64]
) -> None:
    """What the unseen hand does in this step."""
    place, speed = 7 * act.index, 6 * act.index
    velocity = data.qvel[speed : speed + 6]
    acting = act.start_s <= time_s < act.end_s
    if act.kind == "put_down" and time_s < act.end_s:
        share = (act.end_s - time_s) / (act.end_s - act.start_s)
        data.qpos[place : place + 7] = rest[place : place + 7]
        data.qpos[place + 2] = rest[place + 2] + _DROP_M * share if acting else _AWAY_Z_M
        velocity[:] = 0
    elif act.kind == "pushed" and acting:
        data.qpos[place : place + 7] = rest[place : place + 7]  # led by hand: friction neither slows nor topples it
        data.qpos[place : place + 2] += act.velocity_m_s[:2] * (time_s - act.start_s)
        velocity[:3], velocity[3:] = act.velocity_m_s, 0
    elif act.kind == "rolled" and acting:
        radius_m = np.ptp(points_m[:, 2]) / 2
        spin = np.cross([0, 0, 1], act.velocity_m_s) / radius_m
        velocity[:2] = act.velocity_m_s[:2]
        velocity[3:] = rotation_from_quat(data.qpos[place + 3 : place + 7]).T @ spin
    elif act.kind == "fell":
        # A push at the top, over by the time it tilts by itself.
        height_m, reach_m = np.ptp(points_m[:, 2]), np.ptp(points_m[:, :2], axis=0).max() / 2
        body = act.index + 1
        up_now = _up_row(data.qpos[place + 3 : place + 7], rest[place + 3 : place + 7])
        force = np.zeros(6)
        if acting and up_now > math.cos(math.radians(35)):
            weight_n = model.body_subtreemass[body] * 9.81
            direction = act.velocity_m_s / np.linalg.norm(act.velocity_m_s)
            force[:3] = direction * weight_n * 1.6 * reach_m / height_m
            force[3:] = np.cross([0, 0, height_m / 2], force[:3])
        data.xfrc_applied[body] = force


def _up_row(quat_wxyz: NDArray[np.float64], rest_quat_wxyz: NDArray[np.float64]) -> float:
    """Cosine of the tilt away from the rest."""
    return float((rotation_from_quat(quat_wxyz) @ rotation_from_quat(rest_quat_wxyz).T)[2, 2])


def _moved_as_planned(world: World, layouts: list[Layout], acts: list[_Act]) -> bool:
    """Actors moved far enough and stayed on the table and in view; all the others stayed where they were."""
    kind_of = {act.index: act.kind for act in acts if act.kind != "hidden"}
    first, last = layouts[0], layouts[-1]
    for index, (before, after) in enumerate(zip(first.placed, last.placed, strict=True)):
        kind = kind_of.get(index, "")
        points = after.points(world.shapes)
        shift_m = float(np.linalg.norm(points.mean(0) - before.points(world.shapes).mean(0)))
        tilt = float((after.rotation @ before.rotation.T)[2, 2])
        if points[:, 2].min() < -0.01 or not in_view(points, last.look.camera, world.size_wh):
            return False
        if not kind and (shift_m > 0.01 or _turn_rad(before, after) > 0.1):
            return False
        if kind in ("pushed", "rolled") and shift_m < _MOVED_M:
            return False
        if kind == "pushed" and tilt < 0.9:
            return False
        if kind == "rolled" and not _rolled(layouts, index):
            return False
        if kind == "fell" and tilt > 0.4:
            return False
    return True


def _rolled(layouts: list[Layout], index: int) -> bool:
    turns = [_turn_rad(a.placed[index], b.placed[index]) for a, b in pairwise(layouts)]
    return sum(turns) > math.pi / 2


def _shows(first: Scene, last: Scene, acts: list[_Act]) -> bool:
    """Whoever sees the first and the last frame can tell that it happened."""
    for act in acts:
        before, after = (scene.objects[act.index].visible_share for scene in (first, last))
        if act.kind == "hidden":
            if before < 0.8 or after > 0.2:
                return False
        elif after < 0.5 or (before < 0.5 and act.kind != "put_down"):
            return False
    others = {act.index for act in acts}
    return all(item.visible_share > 0.3 for i, item in enumerate(first.objects) if i not in others)


def _events(layouts: list[Layout], scenes: tuple[Scene, ...], acts: list[_Act]) -> tuple[Event, ...]:
    events = []
    for act in acts:
        if act.kind == "hidden":
            shares = [scene.objects[act.index].visible_share for scene in scenes]
            from_before = [share < shares[0] - 0.1 for share in shares]
            from_after = [share > 0.2 for share in shares]
        else:
            path = [layout.placed[act.index] for layout in layouts]
            from_before = [_differs(path[0], item) for item in path]
            from_after = [_differs(path[-1], item) for item in path]
        changing = len(from_after) - from_after[::-1].index(True)
        events.append(Event(act.kind, act.index + 1, from_before.index(True), changing))
    return tuple(sorted(events, key=lambda event: (event.first_frame, event.instance_id)))


def _differs(a: Placed, b: Placed) -> bool:
    return bool(np.linalg.norm(a.position_m - b.position_m) > _STILL_M or _turn_rad(a, b) > _STILL_RAD)


def _turn_rad(a: Placed, b: Placed) -> float:
    cosine = (np.trace(a.rotation.T @ b.rotation) - 1) / 2
    return float(math.acos(min(1.0, max(-1.0, cosine))))


def _shifted(item: Placed, shift_m: NDArray[np.float64]) -> Placed:
    return moved(item, item.position_m + shift_m, item.rotation)

"""Renders videos of the tabletop: physics moves the objects, and the world renders the frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput, RenderError
from reasonseg_ros.tabletop.layout import Layout, Placed, in_view, moved
from reasonseg_ros.tabletop.objects.solids import rotation_from_quat
from reasonseg_ros.tabletop.scene import Scene
from reasonseg_ros.tabletop.videos.acts import Act, plan_acts
from reasonseg_ros.tabletop.videos.video import SHORTEST_S, Event, Video
from reasonseg_ros.tabletop.world import World, check_seed

_ATTEMPTS = 80
_STEP_S = 0.004
_AWAY_Z_M = -3.0  # below the floor, out of sight
_DROP_M = 0.28
_STILL_M, _STILL_RAD = 0.003, 0.06
_MOVED_M = 0.08


def film(world: World, seed: int, frames: int = 24, rate_hz: float = 8.0) -> Video:
    """The video of a seed: one or two events among three to six objects. The other objects do not move.

    Raises:
        InvalidInput: the seed is reserved, or the video is shorter than SHORTEST_S.
        RenderError: no valid arrangement was found.
    """
    check_seed(seed)
    if rate_hz <= 0 or frames / rate_hz < SHORTEST_S:
        raise InvalidInput(f"{frames} frames at {rate_hz} Hz: expected a video of at least {SHORTEST_S} s; add frames")
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, 2, attempt])
        plan = plan_acts(rng, world.shapes, world.size_wh, frames / rate_hz)
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


def _simulate(
    world: World, layout: Layout, acts: list[Act], frames: int, rate_hz: float
) -> Iterator[tuple[Placed, ...]]:
    """The poses of all objects in each frame, from a small physics model of only these objects."""
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
            for i in range(len(layout.placed)):  # objects whose act has not started are held in place
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
    model: Any, data: Any, act: Act, time_s: float, rest: NDArray[np.float64], points_m: NDArray[np.float64]
) -> None:
    """Apply the act's force or motion in this step."""
    place, speed = 7 * act.index, 6 * act.index
    velocity = data.qvel[speed : speed + 6]
    acting = act.start_s <= time_s < act.end_s
    if act.kind == "put_down" and time_s < act.end_s:
        share = (act.end_s - time_s) / (act.end_s - act.start_s)
        data.qpos[place : place + 7] = rest[place : place + 7]
        data.qpos[place + 2] = rest[place + 2] + _DROP_M * share if acting else _AWAY_Z_M
        velocity[:] = 0
    elif act.kind == "pushed" and acting:
        data.qpos[place : place + 7] = rest[
            place : place + 7
        ]  # moved like by a hand: friction neither slows nor topples it
        data.qpos[place : place + 2] += act.velocity_m_s[:2] * (time_s - act.start_s)
        velocity[:3], velocity[3:] = act.velocity_m_s, 0
    elif act.kind == "rolled" and acting:
        radius_m = np.ptp(points_m[:, 2]) / 2
        spin = np.cross([0, 0, 1], act.velocity_m_s) / radius_m
        velocity[:2] = act.velocity_m_s[:2]
        velocity[3:] = rotation_from_quat(data.qpos[place + 3 : place + 7]).T @ spin
    elif act.kind == "fell":
        # A push at the top that ends when the object tips over.
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
    """Cosine of the tilt from the resting pose."""
    return float((rotation_from_quat(quat_wxyz) @ rotation_from_quat(rest_quat_wxyz).T)[2, 2])


def _moved_as_planned(world: World, layouts: list[Layout], acts: list[Act]) -> bool:
    """Whether the objects of acts moved far enough, stayed on the table and in view, and all others stayed in place."""
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


def _shows(first: Scene, last: Scene, acts: list[Act]) -> bool:
    """Whether the events can be recognised from the first and the last frame."""
    for act in acts:
        before, after = (scene.objects[act.index].visible_share for scene in (first, last))
        if act.kind == "hidden":
            if before < 0.8 or after > 0.2:
                return False
        elif after < 0.5 or (before < 0.5 and act.kind != "put_down"):
            return False
    others = {act.index for act in acts}
    return all(item.visible_share > 0.3 for i, item in enumerate(first.objects) if i not in others)


def _events(layouts: list[Layout], scenes: tuple[Scene, ...], acts: list[Act]) -> tuple[Event, ...]:
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

"""The layout of a scene, drawn from a seed without rendering: objects and their poses, light, table and camera."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.tabletop.objects.household import NATURAL_COLORS
from reasonseg_ros.tabletop.objects.solids import Shape, Vec3, rotation_about
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS
from reasonseg_ros.types import Points, RgbImage

COLOR_RGB: dict[str, Vec3] = {
    "red": (0.78, 0.07, 0.08),
    "green": (0.08, 0.50, 0.14),
    "blue": (0.08, 0.20, 0.78),
    "yellow": (0.92, 0.80, 0.08),
    "orange": (0.95, 0.42, 0.04),
    "purple": (0.42, 0.12, 0.60),
    "white": (0.92, 0.92, 0.92),
    "black": (0.06, 0.06, 0.07),
}
Footprint = tuple[tuple[float, float], tuple[float, float], float]  # centre, sides, angle in degrees
TABLES = ("wood", "marble", "cloth", "plain")
TEXTURE_PX = 256
TABLE_HALF_M = (0.5, 0.4)
_GAP_M = 0.006
_LIFT_M = 0.0005
_EDGE_PX_SHARE = 0.008


@dataclass(frozen=True)
class OrbitCamera:
    """A camera that looks at a point from a distance. At azimuth 90 it looks from the front edge to the back.

    Its optical axes follow REP-103: x right, y down, z forward. Pixel centres are at integer coordinates.
    """

    look_at_m: Vec3
    distance_m: float
    azimuth_deg: float
    elevation_deg: float
    fovy_deg: float

    def table_from_camera(self) -> NDArray[np.float64]:
        """Pose of the optical frame in the table frame, float64 [4, 4]."""
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        level = math.cos(elevation)
        forward = np.array([level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)])
        right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
        pose[:3, 3] = np.asarray(self.look_at_m) - self.distance_m * forward
        return pose

    def intrinsics(self, size_wh: tuple[int, int]) -> Intrinsics:
        width, height = size_wh
        focal_px = height / 2 / math.tan(math.radians(self.fovy_deg) / 2)
        return Intrinsics(focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)

    def project(self, points_m: Points, size_wh: tuple[int, int]) -> Points:
        """Pixels [N, 2] of points [N, 3] in the table frame. The points must be in front of the camera."""
        pose, lens = self.table_from_camera(), self.intrinsics(size_wh)
        x, y, z = ((points_m - pose[:3, 3]) @ pose[:3, :3]).T
        return np.stack([lens.cx_px + lens.fx_px * x / z, lens.cy_px + lens.fy_px * y / z], 1)


@dataclass(frozen=True)
class Lamp:
    position_m: Vec3
    rgb: Vec3


@dataclass(frozen=True, eq=False)
class Look:
    """Everything except the objects. `table_rgb` is uint8 [TEXTURE_PX, TEXTURE_PX, 3]."""

    camera: OrbitCamera
    lamps: tuple[Lamp, Lamp]
    ambient: float
    table_rgb: RgbImage
    gloss: float
    floor_rgb: Vec3
    sky_rgb: Vec3


@dataclass(frozen=True, eq=False)
class Placed:
    """A placed shape: its pose in the table frame, and its paint."""

    shape_index: int
    color: str
    rgb: Vec3
    position_m: NDArray[np.float64]
    rotation: NDArray[np.float64]

    def points(self, shapes: tuple[Shape, ...]) -> Points:
        return shapes[self.shape_index].points @ self.rotation.T + self.position_m

    def part_points(self, shapes: tuple[Shape, ...], part: str) -> Points:
        hulls = [hull for solid in shapes[self.shape_index].solids if solid.part == part for hull in solid.hulls()]
        return np.concatenate(hulls) @ self.rotation.T + self.position_m

    def hulls(self, shapes: tuple[Shape, ...]) -> list[Points]:
        return [hull @ self.rotation.T + self.position_m for hull in shapes[self.shape_index].hulls]


@dataclass(frozen=True, eq=False)
class Layout:
    look: Look
    placed: tuple[Placed, ...]


def still_layout(seed: int, shapes: tuple[Shape, ...], size_wh: tuple[int, int]) -> Layout:
    """Up to three to eight objects, fully in view and without contact. Any two differ in category or colour."""
    rng = np.random.default_rng([seed, 1])
    look = draw_look(rng)
    wanted = int(rng.integers(3, 9))
    crowded = rng.uniform() < 0.4
    reach_m = (0.16, 0.13) if crowded and wanted < 6 else (0.28, 0.22)
    placed: list[Placed] = []
    footprints: list[Footprint] = []
    for attempt in range(400):
        if len(placed) == wanted:
            break
        spread = 1.0 + attempt / 400
        item = draw_object(rng, shapes, (reach_m[0] * spread, reach_m[1] * spread))
        names = {(shapes[other.shape_index].category, other.color) for other in placed}
        taken = {other.shape_index for other in placed}
        if item.shape_index in taken or (shapes[item.shape_index].category, item.color) in names:
            continue
        points = item.points(shapes)
        if fits(points, footprints) and in_view(points, look.camera, size_wh):
            placed.append(item)
            footprints.append(footprint(points))
    return Layout(look, tuple(placed))


def draw_object(rng: np.random.Generator, shapes: tuple[Shape, ...], reach_m: tuple[float, float]) -> Placed:
    """A random shape in a random colour, resting on the table at a random position within `reach_m` of the middle."""
    variants = len(shapes) // len(CATEGORIES)
    index = int(rng.integers(len(CATEGORIES))) * variants + int(rng.integers(variants))
    shape = shapes[index]
    names = NATURAL_COLORS.get(shape.category, COLORS)
    color = names[int(rng.integers(len(names)))]
    rest = 0 if rng.uniform() < 0.75 else int(rng.integers(len(shape.rests)))
    at = (rng.uniform(-reach_m[0], reach_m[0]), rng.uniform(-reach_m[1], reach_m[1]))
    return rest_on_table(shapes, index, color, draw_paint(rng, color), rest, rng.uniform(0, 2 * math.pi), at)


def rest_on_table(
    shapes: tuple[Shape, ...], index: int, color: str, rgb: Vec3, rest: int, yaw_rad: float, at_m: tuple[float, float]
) -> Placed:
    """The shape in one of its resting poses, rotated by yaw, with the centre of its extent at `at_m`."""
    rotation = rotation_about("z", yaw_rad) @ shapes[index].rests[rest]
    points = shapes[index].points @ rotation.T
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    position = np.array([at_m[0] - middle[0], at_m[1] - middle[1], _LIFT_M - low[2]])
    return Placed(index, color, rgb, position, rotation)


def fits(points_m: Points, footprints: list[Footprint]) -> bool:
    """Whether an object with these points is on the table, and its footprint does not overlap the others."""
    if (np.abs(points_m[:, :2]) > np.asarray(TABLE_HALF_M) - 0.01).any():
        return False
    own = footprint(points_m, _GAP_M)
    return all(cv2.rotatedRectangleIntersection(own, other)[0] == cv2.INTERSECT_NONE for other in footprints)


def footprint(points_m: Points, grow_m: float = 0.0) -> Footprint:
    """The smallest rectangle around the points seen from above: centre, sides, angle in degrees."""
    center, sides, angle_deg = cv2.minAreaRect(points_m[:, :2].astype(np.float32))
    return center, (sides[0] + 2 * grow_m, sides[1] + 2 * grow_m), angle_deg


def upright_box(points_m: Points) -> tuple[Vec3, Vec3, float]:
    """Centre, size (length >= width, height) and yaw of the length, for the smallest upright box around points."""
    (x, y), (first, second), angle_deg = footprint(points_m)
    low, high = float(points_m[:, 2].min()), float(points_m[:, 2].max())
    yaw_rad = math.radians(angle_deg + (90 if second > first else 0))
    return (x, y, (low + high) / 2), (max(first, second), min(first, second), high - low), yaw_rad


def in_view(points_m: Points, camera: OrbitCamera, size_wh: tuple[int, int]) -> bool:
    """Whether all points are inside the image, with a small margin."""
    pixels = camera.project(points_m, size_wh)
    edge = _EDGE_PX_SHARE * size_wh[0]
    return bool((pixels > edge).all() and (pixels < np.asarray(size_wh) - 1 - edge).all())


def draw_paint(rng: np.random.Generator, color: str) -> Vec3:
    """The named colour with small random changes of brightness and hue."""
    bright = rng.uniform(0.88, 1.06) if color in ("white", "yellow", "orange") else rng.uniform(0.8, 1.2)
    off = rng.uniform(-0.025, 0.025, 3)
    if color in ("white", "black"):
        off *= 0.4
    return _clip_rgb(np.asarray(COLOR_RGB[color]) * bright + off)


def draw_look(rng: np.random.Generator) -> Look:
    camera = OrbitCamera(
        look_at_m=(float(rng.uniform(-0.03, 0.03)), float(rng.uniform(-0.03, 0.03)), 0.02),
        distance_m=float(rng.uniform(0.55, 0.82)),
        azimuth_deg=float(rng.uniform(75, 105)),
        elevation_deg=float(-rng.uniform(30, 68)),
        fovy_deg=float(rng.uniform(42, 50)),
    )
    lamps = tuple(
        Lamp(
            (float(rng.uniform(-0.6, 0.6)), float(rng.uniform(-0.7, 0.5)), float(rng.uniform(0.9, 1.6))),
            _clip_rgb(np.array([1, rng.uniform(0.92, 1), rng.uniform(0.84, 1)]) * power),
        )
        for power in (rng.uniform(0.5, 0.75), rng.uniform(0.2, 0.4))
    )
    return Look(
        camera=camera,
        lamps=(lamps[0], lamps[1]),
        ambient=float(rng.uniform(0.36, 0.48)),
        table_rgb=draw_table(rng),
        gloss=float(rng.choice([0.0, 0.0, 0.06])),
        floor_rgb=_clip_rgb(rng.uniform(0.2, 0.5) + rng.uniform(-0.05, 0.05, 3)),
        sky_rgb=_clip_rgb(rng.uniform(0.4, 0.8) + rng.uniform(-0.1, 0.1, 3)),
    )


def draw_table(rng: np.random.Generator) -> RgbImage:
    """A texture of wood, marble, cloth or one colour. It differs in brightness from white and black objects."""
    kind = TABLES[int(rng.integers(len(TABLES)))]
    size = TEXTURE_PX
    fine = rng.standard_normal((size, size)).astype(np.float32)
    if kind == "wood":
        base = np.array([0.50, 0.34, 0.20]) * rng.uniform(0.65, 1.25)
        grain = _noise(rng, 40, 3) + 0.4 * _noise(rng, 200, 8)
        value = 1 + 0.10 * grain + 0.06 * np.sin(grain * 9)
    elif kind == "marble":
        base = np.array([0.62, 0.61, 0.59]) * rng.uniform(0.85, 1.05)
        veins = sum(_noise(rng, k, k) / math.sqrt(k) for k in (4, 8, 16, 32))
        value = 1 - 0.25 * np.exp(-np.abs(veins) * 9)
    elif kind == "cloth":
        base = rng.uniform(0.3, 0.6) + rng.uniform(-0.09, 0.09, 3)
        across, along = (np.sign(np.sin(np.arange(size) / rng.uniform(2, 9))) for _ in range(2))
        value = 1 + 0.13 * across[None] * along[:, None] + 0.04 * fine
    else:
        base = rng.uniform(0.25, 0.65) + rng.uniform(-0.03, 0.03, 3)
        value = 1 + 0.02 * fine
    return np.clip(base * value[..., None] * 255, 0, 255).astype(np.uint8)


def moved(item: Placed, position_m: NDArray[np.float64], rotation: NDArray[np.float64]) -> Placed:
    """The same object in another pose."""
    return replace(item, position_m=position_m, rotation=rotation)


def _noise(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_CUBIC)


def _clip_rgb(values: NDArray[np.float64]) -> Vec3:
    red, green, blue = np.clip(values, 0, 1).tolist()
    return red, green, blue

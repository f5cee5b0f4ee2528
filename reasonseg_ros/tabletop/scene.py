"""A rendered tabletop scene with its ground truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.spatial import Intrinsics, OrientedBox
from reasonseg_ros.types import BoolMask, RgbImage

COLORS = ("red", "green", "blue", "yellow", "orange", "purple", "white", "black")
CATEGORIES = (
    "mug", "bowl", "bottle", "can", "hammer", "screwdriver", "banana",
    "apple", "book", "knife", "sponge", "pen", "flashlight", "scissors",
)  # fmt: skip


@dataclass(frozen=True)
class SceneObject:
    """One object on the table.

    Attributes:
        instance_id: its value in `Scene.instance_ids`, from 1.
        category: one of CATEGORIES.
        color: one of COLORS, of the main part.
        position_m: centre in the table frame (x right, y away from the front edge, z up).
        size_m: length >= width, along the object's horizontal axes, and height, in its pose.
        area_px: visible pixels.
        visible_share: visible pixels divided by the pixels without occlusion, 0 to 1.
        box_xyxy: tight box of the visible pixels, integers, x2 and y2 exclusive; zeros if area_px is 0.
        point_xy: a pixel well inside the visible mask (the mask pixel nearest its centroid).
        depth_m: median depth of the visible pixels; 0 if area_px is 0.
        yaw_rad: direction of the length in the table frame, from x to y.
    """

    instance_id: int
    category: str
    color: str
    position_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    area_px: int
    visible_share: float
    box_xyxy: tuple[int, int, int, int]
    point_xy: tuple[int, int]
    depth_m: float
    yaw_rad: float = 0.0


@dataclass(frozen=True)
class ScenePart:
    """A part of an object. `part_id` is its value in `Scene.part_ids`, unique in the scene. Rest as in SceneObject."""

    part_id: int
    instance_id: int
    name: str
    area_px: int
    box_xyxy: tuple[int, int, int, int]
    point_xy: tuple[int, int]
    position_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class Scene:
    """The camera's images and their ground truth.

    Attributes:
        rgb: uint8 [H, W, 3].
        depth_m: float32 [H, W] along the optical axis.
        instance_ids, part_ids: uint8 [H, W], 0 is the background.
        table_from_camera: float64 [4, 4], pose of the optical frame (REP-103) in the table frame.
    """

    seed: int
    rgb: RgbImage
    depth_m: NDArray[np.float32]
    instance_ids: NDArray[np.uint8]
    part_ids: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    parts: tuple[ScenePart, ...]
    intrinsics: Intrinsics
    table_from_camera: NDArray[np.float64]

    def mask(self, instance_ids: tuple[int, ...], part: str = "") -> BoolMask:
        """Union of the visible pixels of the objects, or of their parts with that name. bool [H, W]."""
        if part:
            ids = [p.part_id for p in self.parts if p.instance_id in instance_ids and p.name == part]
            return np.isin(self.part_ids, ids)
        return np.isin(self.instance_ids, instance_ids)

    def box_in_camera(self, item: SceneObject | ScenePart) -> OrientedBox:
        """The box around a whole object or part, including hidden sides, in the camera's optical frame."""
        cos, sin = math.cos(item.yaw_rad), math.sin(item.yaw_rad)
        table_from_box = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        rotation, origin = self.table_from_camera[:3, :3], self.table_from_camera[:3, 3]
        center = (np.asarray(item.position_m) - origin) @ rotation
        return OrientedBox(center, rotation.T @ table_from_box, np.asarray(item.size_m))


def mirror(objects: Sequence[SceneObject], width_px: int) -> list[SceneObject]:
    """The objects of the scene, mirrored left to right in an image of width `width_px`."""
    flipped = []
    for item in objects:
        x1, y1, x2, y2 = item.box_xyxy
        x, y = item.point_xy
        position_m = (-item.position_m[0], *item.position_m[1:])
        box = (width_px - x2, y1, width_px - x1, y2) if item.area_px else item.box_xyxy
        point = (width_px - 1 - x, y)
        flipped.append(replace(item, box_xyxy=box, point_xy=point, position_m=position_m, yaw_rad=-item.yaw_rad))
    return flipped

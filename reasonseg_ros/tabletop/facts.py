"""The ground truth of a rendered scene: position, size and visible pixels of each object and part."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.tabletop.layout import Layout, upright_box
from reasonseg_ros.tabletop.objects.solids import Shape
from reasonseg_ros.tabletop.scene import SceneObject, ScenePart
from reasonseg_ros.types import Points

_FINER = 4  # polygon filling also paints the outline; a finer grid makes this negligible


def scene_facts(
    shapes: tuple[Shape, ...],
    layout: Layout,
    depth_m: NDArray[np.float32],
    part_ids: NDArray[np.uint8],
    owners: list[tuple[int, str]],
) -> tuple[tuple[SceneObject, ...], tuple[ScenePart, ...]]:
    """The objects and parts of a layout, with their visible pixels.

    Args:
        depth_m: float32 [H, W].
        part_ids: uint8 [H, W], 0 outside of objects.
        owners: instance id and name of each part, from part id 1.
    """
    size_wh = part_ids.shape[1], part_ids.shape[0]
    pixels = _pixels_by_id(part_ids, len(owners))
    parts = []
    for part_id, ((instance_id, name), xy) in enumerate(zip(owners, pixels, strict=True), 1):
        item = layout.placed[instance_id - 1]
        extent = upright_box(item.part_points(shapes, name))
        parts.append(ScenePart(part_id, instance_id, name, len(xy), _box(xy), _middle(xy), *extent))
    objects = []
    for instance_id, item in enumerate(layout.placed, 1):
        own = [xy for (owner, _), xy in zip(owners, pixels, strict=True) if owner == instance_id]
        xy = np.concatenate(own)
        position_m, size_m, yaw_rad = upright_box(item.points(shapes))
        alone = _silhouette_area(layout, item.hulls(shapes), size_wh)
        objects.append(
            SceneObject(
                instance_id=instance_id,
                category=shapes[item.shape_index].category,
                color=item.color,
                position_m=position_m,
                size_m=size_m,
                area_px=len(xy),
                visible_share=min(1.0, len(xy) / max(alone, 1)),
                box_xyxy=_box(xy),
                point_xy=_middle(xy),
                depth_m=float(np.median(depth_m[xy[:, 1], xy[:, 0]])) if len(xy) else 0.0,
                yaw_rad=yaw_rad,
            )
        )
    return tuple(objects), tuple(parts)


def _silhouette_area(layout: Layout, pieces: list[Points], size_wh: tuple[int, int]) -> float:
    """Pixels that the object would cover without occlusion: its convex pieces, projected and filled on a finer grid."""
    pixels = layout.look.camera.project(np.concatenate(pieces), size_wh)
    corner = np.clip(np.floor(pixels.min(0)), 0, size_wh)
    far_corner = np.clip(np.ceil(pixels.max(0)) + 1, 0, size_wh)
    width, height = ((far_corner - corner) * _FINER).astype(int)
    if width < 1 or height < 1:  # completely outside the image
        return 0.0
    canvas = np.zeros((height, width), np.uint8)
    fine = np.round((pixels - corner + 0.5) * _FINER - 0.5).astype(np.int32)
    start = 0
    for piece in pieces:
        cv2.fillConvexPoly(canvas, cv2.convexHull(fine[start : start + len(piece)]), 1)
        start += len(piece)
    return np.count_nonzero(canvas) / _FINER**2


def _pixels_by_id(ids: NDArray[np.uint8], count: int) -> list[NDArray[np.int64]]:
    """Pixels [N, 2] as x, y for each id from 1 to `count`, in one pass over the image."""
    ys, xs = np.nonzero(ids)
    found = ids[ys, xs]
    order = np.argsort(found, kind="stable")
    ends = np.cumsum(np.bincount(found, minlength=count + 1)[1:])
    return np.split(np.stack([xs[order], ys[order]], 1), ends[:-1])


def _box(xy: NDArray[np.int64]) -> tuple[int, int, int, int]:
    if not len(xy):
        return (0, 0, 0, 0)
    (x1, y1), (x2, y2) = xy.min(0).tolist(), xy.max(0).tolist()
    return (x1, y1, x2 + 1, y2 + 1)


def _middle(xy: NDArray[np.int64]) -> tuple[int, int]:
    if not len(xy):
        return (0, 0)
    x, y = xy[np.argmin(((xy - xy.mean(0)) ** 2).sum(1))].tolist()
    return (x, y)

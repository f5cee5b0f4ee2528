"""The points under a mask, from the depth image, and the oriented box around them.

Depth is wrong at outlines: flying pixels lie between an edge and the background, and masks spill over to the
background, to objects in front and to the table. These points are removed before anything is measured.

The box stands on the support: the plane with most of the mask's surroundings on it (a table, a floor, the front of a
drawer). Its z axis is the plane's normal. Its other axes are those of the smallest rectangle around the points, seen
along the normal, which a single view determines well. Principal axes tilt with the visible part of the surface, so they
are used only if no support is found.

All values are in metres in the camera's optical frame (REP-103: z forward, x right, y down). At the end they are
transformed to the target frame of the image's camera pose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.geometry import mask_box
from reasonseg_ros.space.boxes import box_by_spread, box_on_plane
from reasonseg_ros.space.foreground import foreground_of, surroundings, thinned_mask, without_specks
from reasonseg_ros.space.lens import rays_xy
from reasonseg_ros.space.planes import MAX_PLANE_POINTS, MIN_POINTS, fit_plane, may_rest_on
from reasonseg_ros.spatial import CameraPose, Intrinsics, OrientedBox, Surface
from reasonseg_ros.types import BoolMask, FloatArray, Frame, Points, Region, Segmentation

MAX_POINTS = 40_000
"""A larger mask is thinned to every second, third, ... row and column, which bounds time and message size."""
SURROUNDINGS_SHARE = 0.5
"""The support is searched around the mask's box, within this share of the box's longer side."""


def located(segmentation: Segmentation, min_valid_share: float) -> Segmentation:
    """The segmentation with the surface of each region, if its frame has depth and intrinsics."""

    def in_space(regions: Sequence[Region]) -> tuple[Region, ...]:
        return tuple(
            replace(region, surface=surface_of(segmentation.frame, region.mask, min_valid_share)) for region in regions
        )

    alternative = segmentation.alternative
    return replace(
        segmentation,
        regions=in_space(segmentation.regions),
        alternative=None if alternative is None else in_space(alternative),
    )


def surface_of(frame: Frame, mask: BoolMask, min_valid_share: float) -> Surface | None:
    """The visible surface under a mask, bool [H, W]; None if the frame has no depth or no intrinsics.

    If less than `min_valid_share` of the mask has a known depth, there is no box, and `error` gives the reason.
    """
    if frame.depth_m is None or frame.intrinsics is None:
        return None
    frame_id = frame.camera_pose.frame_id if frame.camera_pose else frame.frame_id
    box = mask_box(mask)
    if box is None:
        return Surface(frame_id, error="the mask is empty")
    left, top, right, bottom = _grown(box, mask.shape)
    step = max(1, math.ceil(math.sqrt(np.count_nonzero(mask) / MAX_POINTS)))
    part = slice(top, bottom, step), slice(left, right, step)
    lens = frame.intrinsics
    depth_m = np.nan_to_num(frame.depth_m[part], nan=0.0, posinf=0.0, neginf=0.0)
    inside = np.ascontiguousarray(mask[part])
    seen = inside & (depth_m > 0)
    rays = np.full((*inside.shape, 2), np.nan)
    rays[seen] = rays_xy(lens, _pixels(seen, (left, top), step))
    depth_m[seen & np.isnan(rays[:, :, 0])] = (
        0  # the lens has no ray there, so its place is as unknown as without depth
    )
    valid = depth_m > 0
    share = float(np.count_nonzero(inside & valid) / np.count_nonzero(inside))
    if share < min_valid_share:
        error = f"the depth of {share:.0%} of the mask is known; a box needs {min_valid_share:.0%}"
        return Surface(frame_id, valid_share=share, error=error)
    foreground = foreground_of(inside, depth_m)
    points = _along(rays[foreground], depth_m[foreground])
    pixels = _pixels(foreground, (left, top), step)
    around = thinned_mask(surroundings(inside, valid), MAX_PLANE_POINTS)
    support = _along(rays_xy(lens, _pixels(around, (left, top), step)), depth_m[around])
    plane = fit_plane(support[np.isfinite(support).all(1)])
    if plane is not None and not may_rest_on(plane, points):
        plane = None
    if plane is not None:
        above = plane.heights_m(points) > 3 * plane.noise_m
        if above.mean() > 0.5:  # otherwise it is a flat target in the plane, such as a mat
            foreground[foreground] = above
            firm = without_specks(foreground)
            above[above] = firm[foreground]
            points, pixels = points[above], pixels[above]
    if len(points) < MIN_POINTS:
        error = f"{len(points)} points are left after removing outliers; a box needs {MIN_POINTS}"
        return Surface(frame_id, valid_share=share, error=error)
    oriented = box_on_plane(points, plane) if plane is not None else box_by_spread(points)
    surface = Surface(
        frame_id=frame_id,
        points_m=points.astype(np.float32),
        pixels_xy=pixels.astype(np.int32),
        valid_share=share,
        centroid_m=points.mean(0),
        box=oriented,
        is_supported=plane is not None,
    )
    pose = np.eye(4) if frame.camera_pose is None else frame.camera_pose.target_from_camera
    if lens.camera_from_lens:
        pose = pose.copy()
        pose[:3, :3] = pose[:3, :3] @ lens.rotation
    elif frame.camera_pose is None:
        return surface
    return carried(surface, CameraPose(frame_id, pose))


def back_projected(depth_m: FloatArray, mask: BoolMask, lens: Intrinsics) -> Points:
    """Points [N, 3] of the mask's pixels in a depth image, row by row, in metres in the camera's optical frame.

    NaN where depth or ray are unknown.
    """
    known = np.where(depth_m[mask] > 0, depth_m[mask], np.nan)
    points: Points = _along(rays_xy(lens, _pixels(mask, (0, 0), 1)), known) @ lens.rotation.T
    return points


def carried(surface: Surface, pose: CameraPose) -> Surface:
    """A surface transformed from the optical frame to the target frame of the camera's pose."""
    rotation, origin = pose.target_from_camera[:3, :3], pose.target_from_camera[:3, 3]
    box = surface.box
    return replace(
        surface,
        frame_id=pose.frame_id,
        points_m=(surface.points_m @ rotation.T + origin).astype(np.float32),
        centroid_m=rotation @ surface.centroid_m + origin,
        box=box and OrientedBox(rotation @ box.center_m + origin, rotation @ box.rotation, box.size_m),
    )


def _grown(box_xyxy: FloatArray, shape_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(value) for value in box_xyxy)
    margin = max(16, round(SURROUNDINGS_SHARE * max(x2 - x1, y2 - y1)))
    return max(x1 - margin, 0), max(y1 - margin, 0), min(x2 + margin, shape_hw[1]), min(y2 + margin, shape_hw[0])


def _pixels(part: BoolMask, corner_xy: tuple[int, int], step: int) -> NDArray[np.int64]:
    """Image pixels [N, 2] of the true elements of `part`, which holds every `step`-th pixel from `corner_xy` on."""
    return np.argwhere(part)[:, ::-1] * step + corner_xy


def _along(slopes_xy: Points, depth_m: FloatArray) -> Points:
    """Points [N, 3] on rays given by x/z and y/z, at depths [N]."""
    return np.column_stack([slopes_xy, np.ones(len(slopes_xy))]) * depth_m.astype(np.float64)[:, None]

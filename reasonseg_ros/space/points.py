"""Masks in space: the points that the depth image shows under a mask, and the oriented box around them.

Depth images lie at outlines: pixels hang between an edge and what is behind it, masks spill over to the background, to
the object in front and to the table. Those points are removed before anything is measured.

The box stands on the support: the plane that most of the surroundings of the mask lie on (a table, a floor, the front
of a drawer). Its z axis is the plane's normal and its two other axes are those of the smallest rectangle around the
points seen along the normal, which a single view determines well. Axes of the points' spread (principal axes) tilt with
the part of the surface that happens to be seen, so they are used only if no support is found.

Everything is in metres in the camera's optical frame (REP-103: z forward, x right, y down) until the end, when it is
carried to the frame that the image's camera pose leads to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.geometry import mask_box
from reasonseg_ros.space.lens import rays_xy
from reasonseg_ros.types import (
    BoolMask,
    CameraPose,
    FloatArray,
    Frame,
    Intrinsics,
    OrientedBox,
    Points,
    Segmentation,
    Surface,
)

JUMP_SHARE = 0.02
"""Neighbouring pixels further apart than this share of their depth are on different surfaces."""
MIN_CLUSTER_SHARE = 0.1
"""Surfaces behind each other with less than this share of a mask's points each are spilled ones."""
MIN_COMPANY = 5
"""Of the 9 pixels of a neighbourhood, itself included."""
MAX_SPECK_SHARE = 0.02
MAX_POINTS = 40_000
"""A larger mask is thinned to every second, third, ... row and column, which bounds time and message size."""
MIN_POINTS = 12
SURROUNDINGS_SHARE = 0.5
"""The support is searched around the mask's box, up to this share of its longer side away."""
MIN_SUPPORT_SHARE = 0.4
"""Of the surroundings, on the plane."""
MIN_ABOVE_SHARE = 0.9
"""Of the target, above the plane; else it does not rest on it."""
PART_HEIGHT_M = 0.3
"""A part of something may be this far above what the whole stands on; what is further away is background."""
REST_M = 0.012
"""A target that is seen to begin this near to its support rests on it."""
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


def located(segmentation: Segmentation, min_valid_share: float) -> Segmentation:
    """The segmentation with the surface of each region, where its frame has depth and intrinsics."""
    regions = tuple(
        replace(region, surface=surface_of(segmentation.frame, region.mask, min_valid_share))
        for region in segmentation.regions
    )
    return replace(segmentation, regions=regions)


def surface_of(frame: Frame, mask: BoolMask, min_valid_share: float) -> Surface | None:
    """The visible surface under a mask, bool [H, W]; None if the frame has no depth or no intrinsics.

    There is no box, and `error` says why, where less than `min_valid_share` of the mask has a known depth.
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
    foreground = _foreground(inside, depth_m)
    points = _along(rays[foreground], depth_m[foreground])
    pixels = _pixels(foreground, (left, top), step)
    around = _thinned(_surroundings(inside, valid), MAX_PLANE_POINTS)
    support = _along(rays_xy(lens, _pixels(around, (left, top), step)), depth_m[around])
    plane = fit_plane(support[np.isfinite(support).all(1)])
    if plane is not None and not _may_rest_on(plane, points):
        plane = None
    if plane is not None:
        above = plane.heights_m(points) > 3 * plane.noise_m
        if above.mean() > 0.5:  # a flat target, such as a mat, lies in the plane as a whole
            foreground[foreground] = above
            firm = _without_specks(foreground)
            above[above] = firm[foreground]
            points, pixels = points[above], pixels[above]
    if len(points) < MIN_POINTS:
        error = f"{len(points)} points are left without outliers; a box needs {MIN_POINTS}"
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
    """Points [N, 3] of the mask's pixels in a depth image, row by row, in the camera's optical frame.

    NaN if depth or ray are not known.
    """
    known = np.where(depth_m[mask] > 0, depth_m[mask], np.nan)
    points: Points = _along(rays_xy(lens, _pixels(mask, (0, 0), 1)), known) @ lens.rotation.T
    return points


def fit_plane(points_m: Points) -> Plane | None:
    """The plane that most of the points [N, 3] lie on; None where less than MIN_SUPPORT_SHARE of them do.

    RANSAC (Fischler and Bolles, 1981), the same for the same points, then least squares on what lies on it.
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


def box_on_plane(points_m: Points, plane: Plane) -> OrientedBox:
    """The upright box of least footprint around the points [N, 3]; down to the plane where they begin near it."""
    x_axis = np.cross(plane.normal, np.eye(3)[np.argmin(np.abs(plane.normal))])
    x_axis /= np.linalg.norm(x_axis)
    y_axis = np.cross(plane.normal, x_axis)
    flat = np.stack([points_m @ x_axis, points_m @ y_axis], 1)
    origin = flat.mean(0)  # near zero, float32 is precise
    (u, v), sides, angle_deg = cv2.minAreaRect((flat - origin).astype(np.float32))
    angle = np.radians(angle_deg)
    along = np.cos(angle) * x_axis + np.sin(angle) * y_axis
    across = np.cross(plane.normal, along)
    heights = plane.heights_m(points_m)
    low, high = float(heights.min()), float(heights.max())
    low = 0.0 if low < REST_M else low
    center = (u + origin[0]) * x_axis + (v + origin[1]) * y_axis + (plane.offset_m + (low + high) / 2) * plane.normal
    length, width = sides
    if width > length:
        along, across, length, width = across, -along, width, length
    return OrientedBox(center, np.stack([along, across, plane.normal], 1), np.array([length, width, high - low]))


def box_by_spread(points_m: Points) -> OrientedBox:
    """The box along the principal axes of the points [N, 3]: x the longest, z the shortest and to the camera."""
    middle = points_m.mean(0)
    axes = np.linalg.svd(points_m - middle, full_matrices=False)[2].T
    if axes[:, 2] @ middle > 0:
        axes[:, 2] *= -1
    axes[:, 1] = np.cross(axes[:, 2], axes[:, 0])
    spread = (points_m - middle) @ axes
    low, high = spread.min(0), spread.max(0)
    return OrientedBox(middle + axes @ ((low + high) / 2), axes, high - low)


def carried(surface: Surface, pose: CameraPose) -> Surface:
    """A surface of the optical frame in the frame of the camera's pose."""
    rotation, origin = pose.target_from_camera[:3, :3], pose.target_from_camera[:3, 3]
    box = surface.box
    return replace(
        surface,
        frame_id=pose.frame_id,
        points_m=(surface.points_m @ rotation.T + origin).astype(np.float32),
        centroid_m=rotation @ surface.centroid_m + origin,
        box=box and OrientedBox(rotation @ box.center_m + origin, rotation @ box.rotation, box.size_m),
    )


def _may_rest_on(plane: Plane, points_m: Points) -> bool:
    """Whether the points, or the whole that they are a part of, may stand on the plane."""
    if not len(points_m):
        return False
    heights = plane.heights_m(points_m)
    is_above = np.mean(heights > -3 * plane.noise_m) >= MIN_ABOVE_SHARE
    reach_m = max(float(np.linalg.norm(np.ptp(points_m, axis=0))), PART_HEIGHT_M)
    return bool(is_above and np.median(heights) < reach_m)


def _grown(box_xyxy: FloatArray, shape_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(value) for value in box_xyxy)
    margin = max(16, round(SURROUNDINGS_SHARE * max(x2 - x1, y2 - y1)))
    return max(x1 - margin, 0), max(y1 - margin, 0), min(x2 + margin, shape_hw[1]), min(y2 + margin, shape_hw[0])


def _pixels(part: BoolMask, corner_xy: tuple[int, int], step: int) -> NDArray[np.int64]:
    """The image's pixels [N, 2] of the true ones of a part, which holds every `step`-th pixel from that corner on."""
    return np.argwhere(part)[:, ::-1] * step + corner_xy


def _along(slopes_xy: Points, depth_m: FloatArray) -> Points:
    """Points [N, 3] on rays that are given by x/z and y/z."""
    return np.column_stack([slopes_xy, np.ones(len(slopes_xy))]) * depth_m.astype(np.float64)[:, None]


def _thinned(mask: BoolMask, count: int) -> BoolMask:
    """Evenly spaced true pixels, at most `count`."""
    thin = np.zeros_like(mask)
    chosen = np.flatnonzero(mask)
    thin.flat[chosen[:: max(1, -(-len(chosen) // count))]] = True
    return thin


def _surroundings(inside: BoolMask, valid: BoolMask) -> BoolMask:
    """Pixels of known depth that are clear of the mask."""
    near = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8))
    clear: BoolMask = valid & (near == 0)
    return clear


def _foreground(inside: BoolMask, depth_m: FloatArray) -> BoolMask:
    """The mask without unknown pixels, without pixels behind a nearer neighbour, and without small surfaces apart.

    A pixel behind its neighbour is background under the mask's edge, or hangs in the air between the two.
    """
    valid = depth_m > 0
    nearest_m = cv2.erode(np.where(valid, depth_m, np.float32(np.inf)), np.ones((3, 3), np.uint8))
    kept: BoolMask = inside & valid & (depth_m - nearest_m < JUMP_SHARE * depth_m)
    return _without_specks(_without_small_clusters(kept, depth_m))


def _without_specks(mask: BoolMask) -> BoolMask:
    """The pixels that have company: most of their 3 x 3 neighbourhood, and more than a speck joined to them."""
    ones = mask.astype(np.uint8)
    company = cv2.boxFilter(ones, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    kept: BoolMask = mask & (company >= MIN_COMPANY)
    _, ids, stats, _ = cv2.connectedComponentsWithStats(kept.astype(np.uint8), connectivity=8)
    is_large = stats[:, cv2.CC_STAT_AREA] > MAX_SPECK_SHARE * np.count_nonzero(kept)
    is_large[0] = False
    kept = is_large[ids]
    return kept if kept.any() else mask


def _without_small_clusters(kept: BoolMask, depth_m: FloatArray) -> BoolMask:
    """The pixels but for those few whose depth is cut off by a gap from that of the others."""
    depths = np.sort(depth_m[kept])
    if not len(depths):
        return kept
    starts = np.flatnonzero(np.diff(depths) > JUMP_SHARE * depths[:-1]) + 1
    found = np.zeros_like(kept)
    for cluster in np.split(depths, starts):
        if len(cluster) >= MIN_CLUSTER_SHARE * len(depths):
            found |= kept & (depth_m >= cluster[0]) & (depth_m <= cluster[-1])
    return found

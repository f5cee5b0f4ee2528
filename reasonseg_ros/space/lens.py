"""Projection and back-projection of pixels: pinhole cameras with distortion, and fisheye cameras.

The models are those of OpenCV. In ROS, `plumb_bob` and `rational_polynomial` are its pinhole camera, `equidistant` is
its fisheye camera (Kannala and Brandt, 2006).

The distorted radius does not grow without limit: at a fold the polynomial turns back, and pixels beyond it would have
two rays or none. Such pixels have no ray here.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import ArrayLike

from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import FloatArray, Points

MAX_SLOPE = 12.0
"""Rays more than 85 degrees off the axis are not searched, as depth along the axis is of little use there."""
STEPS = 4096
NEWTON_STEPS = 8
MAX_ERROR_PX = 1e-4
"""A ray must project to its pixel within this distance; otherwise the pixel has none."""


def rays_xy(lens: Intrinsics, pixels_xy: ArrayLike) -> Points:
    """x/z and y/z of the rays through pixels [N, 2], float64 [N, 2]; NaN for pixels without a ray.

    The rays are in the frame of the lens: see `Intrinsics.camera_from_lens`.
    """
    pixels = np.asarray(pixels_xy, np.float64).reshape(-1, 2)
    focal = np.array([lens.fx_px, lens.fy_px])
    distorted = (pixels - (lens.cx_px, lens.cy_px)) / focal
    if not lens.is_distorted:
        return distorted
    radii = np.hypot(*distorted.T)
    true_radii, distorted_radii = _radii(lens.distortion, lens.is_fisheye)
    starts = np.interp(radii, distorted_radii, true_radii, right=np.nan)
    if lens.is_fisheye:
        starts = np.tan(starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes: Points = distorted * np.where(radii > 0, starts / radii, 1)[:, None]
    for _ in range(NEWTON_STEPS):
        reached, (xx, xy, yx, yy) = _distorted(lens, slopes)
        error_x, error_y = (reached - distorted).T
        is_far = np.hypot(error_x * lens.fx_px, error_y * lens.fy_px) > MAX_ERROR_PX
        if not is_far.any():
            break
        steps = np.stack([error_x * yy - error_y * xy, error_y * xx - error_x * yx], 1)
        slopes = slopes - steps / (xx * yy - xy * yx)[:, None]
    else:
        slopes[is_far] = np.nan
    return slopes


def pixels_xy(lens: Intrinsics, slopes_xy: ArrayLike) -> Points:
    """Pixels [N, 2] of rays given as x/z and y/z in the frame of the lens; NaN beyond the lens's fold."""
    slopes = np.asarray(slopes_xy, np.float64).reshape(-1, 2)
    if lens.is_distorted:
        inputs, _ = _radii(lens.distortion, lens.is_fisheye)
        radii = np.hypot(*slopes.T)
        is_seen = (np.arctan(radii) if lens.is_fisheye else radii) <= inputs[-1]
        slopes = np.where(is_seen[:, None], _distorted(lens, slopes)[0], np.nan)
    return slopes * (lens.fx_px, lens.fy_px) + (lens.cx_px, lens.cy_px)


def carried_depth(depth_m: FloatArray, source: Intrinsics, target: Intrinsics) -> FloatArray:
    """A depth image of `source` warped to `target`, another lens at the same place, float32 [H, W]; 0 outside.

    For depth that is registered to a raw image while the image is rectified, and the other way round.
    """
    source_xy, scale = _look_up(source, target, (depth_m.shape[1], depth_m.shape[0]))
    known = np.nan_to_num(depth_m, nan=0.0, posinf=0.0, neginf=0.0)
    depth: FloatArray = cv2.remap(known, source_xy, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return depth * scale


@functools.lru_cache(maxsize=1)
def _look_up(source: Intrinsics, target: Intrinsics, size_wh: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """For each pixel of `target` the pixel of `source`, float32 [H, W, 2], and the factor of its depth, float32 [H, W].

    A missing pixel is far outside. The factor is needed because depth is measured along each lens's axis.
    """
    rows, columns = np.mgrid[: size_wh[1], : size_wh[0]]
    rays = rays_xy(target, np.column_stack([columns.ravel(), rows.ravel()]))
    x, y, z = source.rotation.T @ target.rotation @ np.vstack([rays.T, np.ones(len(rays))])
    with np.errstate(invalid="ignore", divide="ignore"):
        slopes = np.where(z > 1e-6, np.stack([x, y]) / z, np.nan).T
        scale = np.where(z > 1e-6, 1 / z, 0)
    found = np.clip(np.nan_to_num(pixels_xy(source, slopes), nan=-1e4), -1e4, 1e5)
    shape = size_wh[1], size_wh[0]
    return found.astype(np.float32).reshape(*shape, 2), np.nan_to_num(scale).astype(np.float32).reshape(shape)


def _distorted(lens: Intrinsics, slopes_xy: Points) -> tuple[Points, tuple[Points, Points, Points, Points]]:
    """Distorted slopes [N, 2], and the derivatives of x by x, x by y, y by x and y by y, [N] each."""
    x, y = slopes_xy.T
    r2 = x * x + y * y
    if lens.is_fisheye:
        radius = np.sqrt(np.maximum(r2, 1e-24))
        angle = np.arctan(radius)
        polynomial = np.array([*lens.distortion[::-1], 1.0])
        powers = np.arange(len(polynomial))[::-1] * 2 + 1
        distorted = angle * np.polyval(polynomial, angle**2)
        scale = distorted / radius
        by_radius = np.polyval(polynomial * powers, angle**2) / (1 + r2)
        bend = (by_radius - scale) / np.maximum(r2, 1e-24)
        return slopes_xy * scale[:, None], (scale + bend * x * x, bend * x * y, bend * x * y, scale + bend * y * y)
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = (*lens.distortion, *[0.0] * 12)[:12]
    below = np.polyval([k6, k5, k4, 1.0], r2)
    radial = np.polyval([k3, k2, k1, 1.0], r2) / below
    bend = 2 * (np.polyval([3 * k3, 2 * k2, k1], r2) - radial * np.polyval([3 * k6, 2 * k5, k4], r2)) / below
    prism_x, prism_y = 2 * s1 + 4 * s2 * r2, 2 * s3 + 4 * s4 * r2
    distorted_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + (s1 + s2 * r2) * r2
    distorted_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + (s3 + s4 * r2) * r2
    derivatives = (
        radial + bend * x * x + 2 * p1 * y + 6 * p2 * x + prism_x * x,
        bend * x * y + 2 * p1 * x + 2 * p2 * y + prism_x * y,
        bend * x * y + 2 * p1 * x + 2 * p2 * y + prism_y * x,
        radial + bend * y * y + 6 * p1 * y + 2 * p2 * x + prism_y * y,
    )
    return np.stack([distorted_x, distorted_y], 1), derivatives


@functools.lru_cache(maxsize=8)
def _radii(distortion: tuple[float, ...], is_fisheye: bool) -> tuple[Points, Points]:
    """Slopes (for a fisheye lens: angles) from 0 to the fold, and their distorted radii. Both increase."""
    inputs = np.linspace(0, np.arctan(MAX_SLOPE) if is_fisheye else MAX_SLOPE, STEPS)
    squares = inputs**2
    if is_fisheye:
        grown = inputs * np.polyval([*distortion[::-1], 1.0], squares)
    else:
        k1, k2, _, _, k3, k4, k5, k6 = (*distortion, *[0.0] * 8)[:8]
        with np.errstate(divide="ignore", invalid="ignore"):
            grown = inputs * np.polyval([k3, k2, k1, 1.0], squares) / np.polyval([k6, k5, k4, 1.0], squares)
    folds = np.flatnonzero(~(np.diff(grown) > 0))
    end = int(folds[0]) + 1 if len(folds) else STEPS
    return inputs[:end], grown[:end]

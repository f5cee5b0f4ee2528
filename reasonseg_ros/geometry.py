"""Boxes, points and masks: scaling between image sizes, clipping and overlap."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from reasonseg_ros.types import BoolMask, FloatArray, RgbImage


def scale_xy(points_xy: ArrayLike, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> FloatArray:
    """Points (or boxes, as x, y pairs) of an image of size `from_wh` in the pixels of its resize to `to_wh`.

    The two axes are scaled separately, so a squashed image is undone exactly. Shape is kept.
    """
    points = np.asarray(points_xy, np.float32)
    factors = np.array([to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]], np.float32)
    return (points.reshape(-1, 2) * factors).reshape(points.shape)


def squash(rgb: RgbImage, size_px: int) -> RgbImage:
    """The whole image as a square, uint8 [size, size, 3]: SAM2 is trained on such, without padding."""
    shrinks = max(rgb.shape[:2]) > size_px
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    square: RgbImage = cv2.resize(rgb, (size_px, size_px), interpolation=interpolation)
    return square


def clip_box(box_xyxy: ArrayLike, size_wh: tuple[int, int]) -> FloatArray | None:
    """The part of a box inside the image, corners put in order; None if less than a pixel is left."""
    box = np.asarray(box_xyxy, np.float32).reshape(4)
    if not np.isfinite(box).all():
        return None
    x1, x2 = np.clip(sorted(box[[0, 2]]), 0, size_wh[0])
    y1, y2 = np.clip(sorted(box[[1, 3]]), 0, size_wh[1])
    if x2 - x1 < 1 or y2 - y1 < 1:
        return None
    return np.array([x1, y1, x2, y2], np.float32)


def clip_points(points_xy: ArrayLike, size_wh: tuple[int, int]) -> FloatArray:
    """Points moved to the nearest pixel of the image. float32 [P, 2]."""
    points = np.asarray(points_xy, np.float32).reshape(-1, 2)
    return np.clip(points, 0, np.array(size_wh, np.float32) - 1)


def box_iou(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> float:
    """Intersection over union of two boxes."""
    a, b = np.asarray(a_xyxy, np.float64), np.asarray(b_xyxy, np.float64)
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
    return float(overlap / union) if union > 0 else 0.0


def mask_iou(a: BoolMask, b: BoolMask) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def mask_box(mask: BoolMask) -> FloatArray | None:
    """Tight box of a mask, x2 and y2 exclusive; None for an empty mask."""
    (rows,) = mask.any(axis=1).nonzero()
    if not len(rows):
        return None
    (columns,) = mask[rows[0] : rows[-1] + 1].any(axis=0).nonzero()
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def outline_distance(mask: BoolMask) -> FloatArray:
    """Of each pixel of a mask to the nearest pixel outside, the image's border counting as outside. float32 [H, W]."""
    distances = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances[1:-1, 1:-1], np.float32)


def innermost_xy(mask: BoolMask) -> FloatArray:
    """The pixel of a mask that is farthest from its outline. float32 [2]; [0, 0] for an empty mask."""
    box_xyxy = mask_box(mask)
    if box_xyxy is None:
        return np.zeros(2, np.float32)
    x1, y1, x2, y2 = box_xyxy.astype(int)  # what is around the box is outside the mask, as the image's border is
    depth = outline_distance(mask[y1:y2, x1:x2])
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return np.array([x1 + x, y1 + y], np.float32)


def resize_logits(logits: FloatArray, size_wh: tuple[int, int]) -> BoolMask:
    """Mask of the image's size from mask logits [h, w] of a smaller one: bilinear, then cut at 0."""
    mask: BoolMask = cv2.resize(logits, size_wh, interpolation=cv2.INTER_LINEAR) > 0
    return mask


def quat_xyzw(rotation: ArrayLike) -> tuple[float, float, float, float]:
    """The unit quaternion of a rotation matrix [3, 3], w not negative. Bar-Itzhack, 2000: exact for any rotation."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(rotation, np.float64)
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    x, y, z, w = np.linalg.eigh(symmetric)[1][:, -1].tolist()
    return (x, y, z, w) if w >= 0 else (-x, -y, -z, -w)


def rotation_matrix(quat_xyzw: ArrayLike) -> NDArray[np.float64]:
    """The rotation matrix [3, 3] of a quaternion of any length but 0."""
    quat = np.asarray(quat_xyzw, np.float64)
    x, y, z, w = quat / np.linalg.norm(quat)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )

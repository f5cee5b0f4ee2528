"""Converts sensor_msgs/CameraInfo to the lens of an image. Fields are used by the standard, or refused with a reason.

K and D describe the raw image, R and P the rectified one, both at full resolution. Region of interest and binning give
the part of it that the image shows, and its scale. The topic's name tells whether an image is raw or rectified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.spatial import Intrinsics

RAW, RECTIFIED = "raw", "rectified"

_COEFFICIENTS = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (4, 5, 8, 12),
    "equidistant": (4,),
}
"""Allowed numbers of coefficients of each distortion model. Further coefficients must be 0."""

MOST_OFF_CENTRE = 0.15
"""Largest distance of the principal point from the middle, as a share of width or height. Real lenses are within it.
K of an image with 2/3 or 3/2 of the resolution is not."""


class UnusableCalibration(InvalidInput):
    """A CameraInfo that does not describe the image. `reason` is a short name of the fault, the same each time."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True)
class _Part:
    """The image's offset in the full resolution, and the number of full-resolution pixels per image pixel."""

    offset_xy: tuple[int, int]
    binning_xy: tuple[int, int]
    is_whole: bool


def kind_by_name(topic: str) -> str:
    """`raw` or `rectified` by a topic's name; empty if the name says neither."""
    for part in reversed(topic.split("/")):
        if part.startswith("image_rect") or part in ("rect", "rectified"):
            return RECTIFIED
        if part.startswith("image_raw") or part == "raw":
            return RAW
    return ""


def intrinsics_from_info(info: Any, size_wh: tuple[int, int], kind: str = RAW) -> Intrinsics:
    """The lens of a `raw` or `rectified` image of that size. Raises UnusableCalibration with the value and a remedy."""
    part = _part_of(info, size_wh)
    if kind == RECTIFIED:
        if info.roi.do_rectify and not part.is_whole:
            raise _unusable("roi.do_rectify: the rectified image has another region, which the message leaves out")
        return _rectified(info, part)
    return _raw(info, part)


@dataclass(frozen=True)
class Kinds:
    """Whether an image and its depth are `raw` or `rectified`, and whether that was set or assumed."""

    image: str
    depth: str
    image_topic: str
    depth_topic: str
    is_image_set: bool
    is_depth_set: bool

    @classmethod
    def of(cls, image_topic: str, depth_topic: str, image_setting: str = "auto", depth_setting: str = "auto") -> Kinds:
        """A setting of `auto` is decided by the topic's name. Depth whose name says neither is as its image."""
        image = image_setting if image_setting != "auto" else kind_by_name(image_topic) or RAW
        stated = depth_setting if depth_setting != "auto" else kind_by_name(depth_topic)
        return cls(image, stated or image, image_topic, depth_topic, image_setting != "auto", bool(stated))

    def notes(self, info: Any, size_wh: tuple[int, int]) -> list[str]:
        """One line for each assumption about calibration and depth that changes results, and for doubts.

        A doubtful calibration looks like that of another resolution. `info` must be usable for the image.
        """
        notes = [note for note in (_doubt(info, self.image),) if note]
        if kinds_differ(info, size_wh, self.image):
            if not self.is_image_set:
                by = "K and D" if self.image == RAW else "P"
                notes.append(
                    f"{self.image_topic} is read as a {self.image} image ({by} of camera_info), by its name; "
                    "camera.rectification overrides that"
                )
            if self.depth != self.image:
                notes.append(f"{self.depth_topic} is {self.depth} depth, warped to the {self.image} image")
            elif not self.is_depth_set:
                notes.append(
                    f"{self.depth_topic} is taken for {self.depth} too; camera.depth_rectification overrides that"
                )
        if RECTIFIED in (self.image, self.depth) and not any(info.r):
            notes.append("R of camera_info is all 0 and taken as no rotation")
        return notes


def kinds_differ(info: Any, size_wh: tuple[int, int], kind: str) -> bool:
    """Whether the lens would be another one if the image were not of this kind, `raw` or `rectified`."""
    lens = intrinsics_from_info(info, size_wh, kind)
    try:
        other = intrinsics_from_info(info, size_wh, RAW if kind == RECTIFIED else RECTIFIED)
    except UnusableCalibration:
        return lens.is_distorted or bool(np.any(info.k if kind == RECTIFIED else info.p))
    ours, others = ((each.fx_px, each.fy_px, each.cx_px, each.cy_px) for each in (lens, other))
    return (
        lens.is_distorted
        or other.is_distorted
        or not np.allclose(ours, others, atol=1e-3)
        or not np.allclose(lens.rotation, other.rotation, atol=1e-6)
    )


def _doubt(info: Any, kind: str) -> str:
    """Why a calibration may be of another resolution; empty if its principal point is near the middle."""
    name, (cx, cy) = ("P", (info.p[2], info.p[6])) if kind == RECTIFIED else ("K", (info.k[2], info.k[5]))
    width, height = int(info.width), int(info.height)
    if abs(cx - width / 2) <= MOST_OFF_CENTRE * width and abs(cy - height / 2) <= MOST_OFF_CENTRE * height:
        return ""
    middle = f"the principal point of {name}, ({cx:.0f}, {cy:.0f}), is far from the middle of {width} x {height}"
    return f"{middle}; is camera_info of another resolution, or of an image that was cropped?"


def same_frame(one: str, other: str) -> bool:
    """Whether two frame ids are the same. A leading slash, as in tf1, is ignored."""
    return one.lstrip("/") == other.lstrip("/")


def _part_of(info: Any, size_wh: tuple[int, int]) -> _Part:
    full_wh = int(info.width), int(info.height)
    binning = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    roi = info.roi
    offset, region_wh = (int(roi.x_offset), int(roi.y_offset)), (int(roi.width), int(roi.height))
    stated = f"{full_wh[0]} x {full_wh[1]}"
    if region_wh == (0, 0) and offset == (0, 0):
        region_wh = full_wh
    else:
        stated += f" with region {region_wh[0]} x {region_wh[1]} at {offset[0]}, {offset[1]}"
        if 0 in region_wh or any(o + r > f for o, r, f in zip(offset, region_wh, full_wh, strict=True)):
            raise _unusable(f"{stated}, which does not lie inside; width and height are of the full resolution")
    if binning != (1, 1):
        stated += f" and binning {binning[0]} x {binning[1]}"
    expected = region_wh[0] // binning[0], region_wh[1] // binning[1]
    if expected != size_wh or 0 in size_wh:
        raise UnusableCalibration(
            "no camera_info",
            f"none of {size_wh[0]} x {size_wh[1]}; the one of the image's time is {stated}, which gives images of "
            f"{expected[0]} x {expected[1]}; publish the camera_info that belongs to the image",
        )
    return _Part(offset, binning, region_wh == full_wh)


def _raw(info: Any, part: _Part) -> Intrinsics:
    matrix = np.array(info.k, np.float64).reshape(3, 3)
    remedy = "calibrate the camera, or set camera.rectification if the image is rectified"
    fx, fy, cx, cy = _pinhole(matrix, "K", part, remedy)
    distortion, is_fisheye = _distortion(info)
    return Intrinsics(fx, fy, cx, cy, distortion, is_fisheye)


def _rectified(info: Any, part: _Part) -> Intrinsics:
    matrix = np.array(info.p, np.float64).reshape(3, 4)
    remedy = "calibrate the camera, or set camera.rectification: raw if the image is not rectified"
    fx, fy, cx, cy = _pinhole(matrix[:, :3], "P", part, remedy)
    if matrix[:, 3].any():
        shift = ", ".join(f"{value:g}" for value in matrix[:, 3])
        raise _unusable(f"the last column of P is {shift}: a second camera of a pair; take the first one's image")
    return Intrinsics(fx, fy, cx, cy, camera_from_lens=_camera_from_rectified(info))


def _pinhole(matrix: NDArray[np.float64], name: str, part: _Part, remedy: str) -> tuple[float, float, float, float]:
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    stated = f"{name} has fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g}"
    if not np.isfinite(matrix).all() or fx <= 0 or fy <= 0:
        raise _unusable(f"{stated}: not calibrated; {remedy}")
    others = [*matrix[[0, 1, 2, 2], [1, 0, 0, 1]], matrix[2, 2] - 1]
    if np.abs(others).max() > 1e-9:
        raise _unusable(f"{name} is {matrix.tolist()}; expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    bin_x, bin_y = part.binning_xy
    # The centre of a binned pixel is the centre of its block of pixels.
    cx = (cx - part.offset_xy[0] - (bin_x - 1) / 2) / bin_x
    cy = (cy - part.offset_xy[1] - (bin_y - 1) / 2) / bin_y
    return fx / bin_x, fy / bin_y, cx, cy


def _distortion(info: Any) -> tuple[tuple[float, ...], bool]:
    model, coefficients = str(info.distortion_model), tuple(float(value) for value in info.d)
    stated = f"distortion model {model[:40]!r} with {len(coefficients)} coefficients"
    if not np.isfinite(coefficients).all():
        raise _unusable(f"{stated}, not all of them finite")
    if model == "" and not any(coefficients):
        return (), False
    if model not in _COEFFICIENTS:
        raise _unusable(f"{stated}; known are {', '.join(_COEFFICIENTS)}; rectify the image")
    allowed = _COEFFICIENTS[model]
    if model != "equidistant" and not any(coefficients):
        return (), False
    if len(coefficients) > allowed[-1] and not any(coefficients[allowed[-1] :]):
        coefficients = coefficients[: allowed[-1]]
    if len(coefficients) not in allowed:
        raise _unusable(f"{stated}; expected {' or '.join(str(count) for count in allowed)}")
    return coefficients, model == "equidistant"


def _camera_from_rectified(info: Any) -> tuple[float, ...]:
    """The inverse of R, row by row: from the rectified frame to the camera's. Empty if there is no rotation."""
    rotation = np.array(info.r, np.float64).reshape(3, 3)
    if not rotation.any() or np.allclose(rotation, np.eye(3), atol=1e-9):
        return ()
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise _unusable(f"R is {rotation.round(4).tolist()}, which is not a rotation")
    return tuple(float(value) for value in rotation.T.reshape(-1))


def _unusable(detail: str) -> UnusableCalibration:
    return UnusableCalibration("unusable camera_info", detail)

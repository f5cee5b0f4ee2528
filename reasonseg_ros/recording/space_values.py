"""Converts depth, lens and pose of an image to values of a black box's JSON text, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.spatial import CameraPose, Intrinsics
from reasonseg_ros.types import FloatArray, Frame

_LENS = ("fx_px", "fy_px", "cx_px", "cy_px")


def depth_sha256(depth_m: FloatArray) -> str:
    """Digest of a depth image's size and values."""
    exact = np.ascontiguousarray(depth_m, "<f4")
    return hashlib.sha256(repr(exact.shape).encode() + exact.tobytes()).hexdigest()


def space_values(frame: Frame) -> dict[str, Any]:
    """`{"space": ...}` of a frame with depth or intrinsics, else nothing."""
    lens, pose = frame.intrinsics, frame.camera_pose
    if frame.depth_m is None and lens is None:
        return {}
    values: dict[str, Any] = {"depth_sha256": None if frame.depth_m is None else depth_sha256(frame.depth_m)}
    values["intrinsics"] = lens and {
        **{name: float(getattr(lens, name)) for name in _LENS},
        "distortion": [float(value) for value in lens.distortion],
        "is_fisheye": lens.is_fisheye,
        "camera_from_lens": [float(value) for value in lens.camera_from_lens],
    }
    values["camera_pose"] = pose and {
        "frame_id": pose.frame_id,
        "target_from_camera": np.asarray(pose.target_from_camera, np.float64).tolist(),
    }
    return {"space": values}


def with_space(frame: Frame, values: Any, depths: Mapping[str, FloatArray]) -> Frame:
    """The frame with lens and pose from `space_values`, and with its depth from `depths` by digest.

    Raises InvalidInput if the depth is missing, and KeyError, TypeError or ValueError for damaged values.
    """
    digest, lens, pose = values["depth_sha256"], values["intrinsics"], values["camera_pose"]
    if digest is not None and digest not in depths:
        raise InvalidInput(
            f"the depth image of stamp {frame.stamp_ns} ns is not in the file with the recorded values "
            f"(SHA-256 {str(digest)[:12]}...); it is damaged, or was changed since"
        )
    return replace(
        frame,
        depth_m=None if digest is None else depths[digest],
        intrinsics=None if lens is None else _intrinsics(lens),
        camera_pose=None if pose is None else _pose(pose),
    )


def _intrinsics(values: Any) -> Intrinsics:
    distortion, turned = (tuple(map(float, values[name])) for name in ("distortion", "camera_from_lens"))
    if len(distortion) not in (0, 4, 5, 8, 12) or len(turned) not in (0, 9):
        raise ValueError(f"{len(distortion)} distortion coefficients, a rotation of {len(turned)} values")
    fx_px, fy_px, cx_px, cy_px = (float(values[name]) for name in _LENS)
    return Intrinsics(fx_px, fy_px, cx_px, cy_px, distortion, bool(values["is_fisheye"]), turned)


def _pose(values: Any) -> CameraPose:
    return CameraPose(str(values["frame_id"]), np.array(values["target_from_camera"], np.float64).reshape(4, 4))

"""Where the camera was when an image was taken, by tf2 if ROS has it (it is not among the ROS packages on PyPI)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.time import Time

from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.geometry import rotation_matrix
from reasonseg_ros.spatial import CameraPose

RETRY_S = 0.01


class NoTransform(ReasonSegError):
    """The camera's pose at the image's stamp is not known."""


class Transforms:
    """Listens to tf while it lives. With an empty `target_frame` no transform is looked up."""

    def __init__(self, node: Node, target_frame: str) -> None:
        self.target_frame = target_frame
        self._buffer: Any = None
        self._listener: Any = None
        self._missing = ""
        if not target_frame:
            return
        try:
            import tf2_ros
        except ImportError as error:
            self._missing = f"points.target_frame needs tf2_ros, which does not import ({error}); install it"
            return
        self._no_transform = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def destroy(self) -> None:
        if self._listener is not None:
            self._listener.unregister()

    def begin_again(self) -> None:
        """The stream restarted: clear tf2's buffer, which would refuse older transforms. Static transforms stay."""
        if self._buffer is not None:
            self._buffer.clear()

    def camera_pose(self, frame_id: str, stamp_ns: int, wait_s: float = 0.0) -> CameraPose | None:
        """The pose at that stamp, after a wait of at most `wait_s`; None without a target frame. Raises NoTransform.

        For any thread; while it waits, another one has to spin the node.
        """
        if not self.target_frame or self.target_frame == frame_id:
            return None
        if self._buffer is None:
            raise NoTransform(self._missing)
        if stamp_ns == 0:  # tf2 would take the newest transform, of any time
            raise NoTransform(
                f"no transform to {self.target_frame!r} for an image of stamp 0; have its driver stamp it"
            )
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                stamped = self._buffer.lookup_transform(self.target_frame, frame_id, Time(nanoseconds=stamp_ns))
                pose = _matrix(stamped.transform)
                if not np.isfinite(pose).all():
                    raise NoTransform(f"the transform from {frame_id!r} to {self.target_frame!r} is not finite")
                return CameraPose(self.target_frame, pose)
            except self._no_transform as error:
                if time.monotonic() >= deadline_s:
                    raise NoTransform(f"no transform from {frame_id!r} to {self.target_frame!r}: {error}") from error
            time.sleep(RETRY_S)


def _matrix(transform: Any) -> np.ndarray:
    """float64 [4, 4] of a geometry_msgs/Transform; not finite if its quaternion is 0."""
    pose = np.eye(4)
    quat, place = transform.rotation, transform.translation
    with np.errstate(invalid="ignore"):
        pose[:3, :3] = rotation_matrix([quat.x, quat.y, quat.z, quat.w])
    pose[:3, 3] = place.x, place.y, place.z
    return pose

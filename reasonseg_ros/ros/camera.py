"""The node's camera: subscriptions that check what arrives and hand on images, each with its depth and its pose."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from reasonseg_ros import image_messages as images
from reasonseg_ros.config import Config
from reasonseg_ros.live.frame_buffer import Arrival
from reasonseg_ros.ros.depth_health import DepthHealth
from reasonseg_ros.ros.diagnostics import CameraHealth
from reasonseg_ros.ros.outputs import RELIABILITY
from reasonseg_ros.ros.synchroniser import QUEUE_SIZE, Pair, Synchroniser
from reasonseg_ros.ros.transforms import NoTransform, Transforms
from reasonseg_ros.types import CameraPose, Frame, Intrinsics

Post = Callable[[Callable[[], None]], None]
"""Has something done in the executor's thread."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """An image as it arrived, and where the camera was then. tf forgets that sooner than a question may come."""

    message: Any
    pose: CameraPose | None


class Camera:
    """Subscribes `image`, `camera_info` and `depth` while it lives; drops and counts what cannot be used.

    `show` gets images as they came; decoding takes time, so the worker has it done when it needs the frame. Whatever is
    wrong with depth, calibration or transform, the image goes on without and says why in its `warning_3d`.
    """

    def __init__(
        self,
        node: Node,
        config: Callable[[], Config],
        health: CameraHealth,
        depth_health: DepthHealth,
        show: Callable[[Arrival], None],
        post: Post,
    ) -> None:
        camera = config().camera
        self._node = node
        self._config = config
        self._health = health
        self._depth_health = depth_health
        self._show = show
        self._post = post
        self._is_compressed = camera.transport == "compressed"
        self._infos: deque[CameraInfo] = deque(maxlen=QUEUE_SIZE)
        self._transforms = Transforms(node, config().points.target_frame)
        self._pairing: Synchroniser[_Seen, Image] = Synchroniser(camera.depth_tolerance_s, camera.depth_wait_s)
        qos = QoSProfile(depth=camera.depth, reliability=RELIABILITY[camera.reliability])
        kind = CompressedImage if self._is_compressed else Image
        self._depth_subscription = node.create_subscription(Image, "depth", self._on_depth, qos)
        self._subscriptions = (
            node.create_subscription(kind, "image", self._on_image, qos),
            node.create_subscription(CameraInfo, "camera_info", self._on_info, qos),
            self._depth_subscription,
        )
        # Runs only while an image waits for its depth.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._overdue = node.create_timer(max(camera.depth_wait_s, 0.001), self._on_overdue, clock=steady)
        self._overdue.cancel()

    def destroy(self) -> None:
        self._node.destroy_timer(self._overdue)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._transforms.destroy()

    def _on_image(self, message: Any) -> None:
        self._health.arrived()
        try:
            (images.check_compressed if self._is_compressed else images.check_image)(message)
        except images.UnusableImage as error:
            self._drop(error)
            return
        stamp_ns = images.stamp_ns(message.header)
        topic = self._depth_subscription.topic_name
        self._depth_health.is_expected = self._node.count_publishers(topic) > 0
        try:
            pose = self._transforms.camera_pose(message.header.frame_id, stamp_ns)
        except NoTransform:
            pose = None  # it may be known by the time that the frame is needed
        self._hand_on(self._pairing.add_image(stamp_ns, _Seen(message, pose), time.monotonic()))

    def _on_info(self, message: CameraInfo) -> None:
        self._infos.append(message)

    def _on_depth(self, message: Image) -> None:
        self._depth_health.arrived()
        try:
            images.check_depth(message)
        except images.UnusableImage as error:
            self._depth_problem(error.reason, str(error))
            return
        self._hand_on(self._pairing.add_depth(images.stamp_ns(message.header), message, time.monotonic()))

    def _on_overdue(self) -> None:
        self._hand_on(self._pairing.overdue(time.monotonic()))

    def _hand_on(self, pairs: list[Pair[_Seen, Image]]) -> None:
        for pair in pairs:
            message, depth = pair.image.message, pair.depth
            self._depth_health.count(pair)
            warning = ""
            if depth is None and self._depth_health.is_expected:
                limit_s, limit_ms = self._config().camera.depth_wait_s, 1000 * self._config().camera.depth_tolerance_s
                warning = f"no depth image within {limit_ms:g} ms of the image's stamp came in {limit_s:g} s"
                if pair.lag_s > limit_s:
                    warning += f"; depth comes {pair.lag_s:.2f} s after its image, raise camera.depth_wait_s"
                self._depth_problem("no depth of that stamp", warning)
            size_bytes = len(message.data) + (len(depth.data) if depth is not None else 0)
            load = partial(self._frame, pair.image, depth, warning)
            self._show(Arrival(images.stamp_ns(message.header), size_bytes, load))
            time.sleep(0)  # the worker has Python's lock at once, not only when the executor waits again
        if self._pairing.is_waiting:
            if self._overdue.is_canceled():
                self._overdue.reset()
        else:
            self._overdue.cancel()

    def _frame(self, seen: _Seen, depth: Image | None, warning: str) -> Frame:
        """Runs in the worker. Raises UnusableImage."""
        try:
            frame = images.frame_from_message(seen.message)
        except images.UnusableImage as error:
            self._post(partial(self._drop, error))
            raise
        if depth is None:
            return replace(frame, warning_3d=warning)
        try:
            return self._in_space(frame, seen, depth)
        except images.UnusableImage as error:
            self._post(partial(self._depth_problem, error.reason, str(error)))
            return replace(frame, warning_3d=str(error))

    def _in_space(self, frame: Frame, seen: _Seen, depth: Image) -> Frame:
        """The frame with depth, intrinsics and pose. Without its pose it stays in the camera's frame and says why."""
        depth_m = images.depth_from_image(depth)
        if depth_m.shape != frame.rgb.shape[:2]:
            raise images.UnusableImage(
                "depth of another size",
                f"{depth.width} x {depth.height} for an image of {frame.size_wh[0]} x {frame.size_wh[1]}; "
                "publish depth that is registered to the colour image",
            )
        intrinsics = self._intrinsics(frame)
        if intrinsics is None:
            detail = f"none of {frame.size_wh[0]} x {frame.size_wh[1]} with focal lengths on the camera_info topic"
            raise images.UnusableImage("no camera_info", detail)
        pose, warning = seen.pose, ""
        if pose is None:
            try:
                wait_s = self._config().points.transform_wait_s
                pose = self._transforms.camera_pose(frame.frame_id, frame.stamp_ns, wait_s)
            except NoTransform as error:
                warning = str(error)
                self._post(partial(self._depth_problem, "no transform", warning))
        return replace(frame, depth_m=depth_m, intrinsics=intrinsics, camera_pose=pose, warning_3d=warning)

    def _intrinsics(self, frame: Frame) -> Intrinsics | None:
        """Of the camera_info that fits the frame's size and is nearest to its stamp; cameras may zoom."""

        def distance_ns(info: CameraInfo) -> int:
            return abs(info.header.stamp.sec * 10**9 + info.header.stamp.nanosec - frame.stamp_ns)

        fitting = (images.intrinsics_from_info(info, frame.size_wh) for info in sorted(self._infos, key=distance_ns))
        return next((intrinsics for intrinsics in fitting if intrinsics is not None), None)

    def _drop(self, error: images.UnusableImage) -> None:
        self._health.drop(error.reason, str(error))
        self._node.get_logger().warning(f"image dropped: {error}", throttle_duration_sec=5.0)

    def _depth_problem(self, reason: str, detail: str) -> None:
        self._depth_health.problem(reason, detail)
        self._node.get_logger().warning(f"no 3D: {detail}", throttle_duration_sec=5.0)

"""The node's camera: subscriptions that check what arrives and hand on the newest usable image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from reasonseg_ros import image_messages as images
from reasonseg_ros.config import CameraConfig
from reasonseg_ros.live.frame_buffer import Arrival
from reasonseg_ros.ros.diagnostics import CameraHealth
from reasonseg_ros.ros.outputs import RELIABILITY
from reasonseg_ros.types import FloatArray, Frame

Post = Callable[[Callable[[], None]], None]
"""Has something done in the executor's thread."""


class Camera:
    """Subscribes `image`, `camera_info` and `depth` while it lives; drops and counts what cannot be used.

    `show` gets the newest image as it came; decoding takes time, so the worker has it done when it needs the frame.
    Depth belongs to the image of the same stamp.
    """

    def __init__(
        self,
        node: Node,
        config: CameraConfig,
        health: CameraHealth,
        show: Callable[[Arrival], None],
        post: Post,
    ) -> None:
        self._node = node
        self._health = health
        self._show = show
        self._post = post
        self._is_compressed = config.transport == "compressed"
        self._info: CameraInfo | None = None
        self._depth: tuple[int, FloatArray] | None = None
        qos = QoSProfile(depth=config.depth, reliability=RELIABILITY[config.reliability])
        kind = CompressedImage if self._is_compressed else Image
        self._subscriptions = (
            node.create_subscription(kind, "image", self._on_image, qos),
            node.create_subscription(CameraInfo, "camera_info", self._on_info, qos),
            node.create_subscription(Image, "depth", self._on_depth, qos),
        )

    def destroy(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_image(self, message: Any) -> None:
        self._health.arrived()
        try:
            (images.check_compressed if self._is_compressed else images.check_image)(message)
        except images.UnusableImage as error:
            self._drop(error)
            return
        self._show(Arrival(images.stamp_ns(message.header), len(message.data), partial(self._frame, message)))

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_depth(self, message: Image) -> None:
        try:
            self._depth = images.stamp_ns(message.header), images.depth_from_image(message)
        except images.UnusableImage as error:
            self._drop(error)

    def _frame(self, message: Any) -> Frame:
        """Runs in the worker. Raises UnusableImage."""
        try:
            depth = self._depth
            depth_m = depth[1] if depth and depth[0] == images.stamp_ns(message.header) else None
            return images.frame_from_message(message, depth_m, self._info)
        except images.UnusableImage as error:
            self._post(partial(self._drop, error))
            raise

    def _drop(self, error: images.UnusableImage) -> None:
        self._health.drop(error.reason, str(error))
        self._node.get_logger().warning(f"image dropped: {error}", throttle_duration_sec=5.0)

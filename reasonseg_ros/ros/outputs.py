"""The node's publishers: one outcome in, all its messages out."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from reasonseg_ros import msg
from reasonseg_ros.config import Config
from reasonseg_ros.drawing import draw_answer
from reasonseg_ros.live.requests import Outcome
from reasonseg_ros.ros.cloud import cloud_message
from reasonseg_ros.ros.conversion import (
    confidence_image,
    frame_3d,
    header_message,
    image_message,
    jpeg_message,
    label_image,
    reasoning_message,
)
from reasonseg_ros.ros.markers import marker_array

RELIABILITY = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}


class Outputs:
    """Publishes answers while the node is active, and nothing while it is not."""

    def __init__(self, node: LifecycleNode, config: Config) -> None:
        self._node = node
        qos = QoSProfile(depth=config.output.depth, reliability=RELIABILITY[config.output.reliability])
        self._publishers: dict[str, Any] = {
            name: node.create_lifecycle_publisher(kind, f"~/{name}", qos)
            for name, kind in {
                "segmentation": msg.Segmentation,
                "reasoning": msg.Reasoning,
                "label_mask": Image,
                "confidence": Image,
                "overlay": Image,
                "overlay/compressed": CompressedImage,
                "points": PointCloud2,
                "markers": MarkerArray,
            }.items()
        }

    def publish_reasoning(self, message: msg.Reasoning) -> None:
        self._publishers["reasoning"].publish(message)

    def publish(self, outcome: Outcome, message: msg.Segmentation, overlay_alpha: float) -> None:
        """Publish an answer, its masks first. Label mask and confidence are sent for answers only, never for a failure.

        What nobody reads is not made: at the rate of a followed target images would cost much of a core.
        """
        self._publishers["segmentation"].publish(message)
        if not outcome.is_followed:
            self._publishers["reasoning"].publish(reasoning_message(outcome))
        frame, segmentation = outcome.frame, outcome.segmentation
        if frame is not None and segmentation is not None and outcome.answer.status.is_answer:
            for name, make_image in (("label_mask", label_image), ("confidence", confidence_image)):
                if self._is_read(name):
                    pixels = make_image(segmentation.regions, frame.size_wh)
                    self._publishers[name].publish(image_message(header_message(frame), pixels))
        self._publish_overlay(outcome, overlay_alpha)
        if frame is not None and self._is_read("markers"):
            self._publishers["markers"].publish(marker_array(outcome))
        if frame is not None and frame_3d(frame) and outcome.answer.status.is_answer and self._is_read("points"):
            regions = segmentation.regions if segmentation is not None else ()
            self._publishers["points"].publish(cloud_message(frame, regions))

    def destroy(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def _is_read(self, name: str) -> bool:
        return bool(self._publishers[name].get_subscription_count())

    def _publish_overlay(self, outcome: Outcome, alpha: float) -> None:
        """Raw and as JPEG, each where it is read; the name is what image_transport's subscribers look for."""
        frame, makers = outcome.frame, {"overlay": image_message, "overlay/compressed": jpeg_message}
        read = [name for name in makers if self._is_read(name)]
        if frame is None or not read:
            return
        regions = outcome.segmentation.regions if outcome.segmentation else ()
        picture = draw_answer(frame.rgb, regions, outcome.request.query.text, outcome.answer, alpha)
        for name in read:
            self._publishers[name].publish(makers[name](header_message(frame), picture))

"""Answers as input of Nav2's semantic segmentation layer: questions in ordinary words become classes of the costmap.

    python examples/08_nav2_semantic_layer.py "the wet floor" "cables on the floor" \\
        --ros-args -r depth:=/camera/depth -r camera_info:=/camera/camera_info

Each question is watched. For every answer, this program publishes what the layer reads, with the image's header:

    /semantic_layer/label_mask   sensor_msgs/Image mono8     0, or the number of the question: 1, 2, ...
    /semantic_layer/confidence   sensor_msgs/Image mono8     255 is sure
    /semantic_layer/points       sensor_msgs/PointCloud2     organised, as large as the mask, NaN outside of it
    /semantic_layer/label_info   vision_msgs/LabelInfo       latched: the questions by their numbers

The parameters `rectification` and `depth_rectification` are the node's `camera.rectification` and
`camera.depth_rectification`. Here `auto` means a raw image, because the name of its topic is not known.

The layer needs a mask and a cloud with exactly the same stamp. The camera's own cloud is too old when an answer comes,
so this program keeps the depth images of the last seconds. The layer ignores points that are not finite, so label 0
needs no class. It removes old marks after its `tile_map_decay_time`. Configure the layer
(semantic_segmentation_layer::SemanticSegmentationLayer) with

    camera:
      segmentation_topic: /semantic_layer/label_mask
      confidence_topic: /semantic_layer/confidence
      labels_topic: /semantic_layer/label_info
      pointcloud_topic: /semantic_layer/points
      class_types: ["danger"]
      danger: {classes: ["the wet floor"], base_cost: 200, max_cost: 254, mark_confidence: 150, samples_to_max_cost: 2}
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.utilities import remove_ros_args
from reasonseg_ros.msg import Query, Segmentation
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from reasonseg_ros.bags import header_stamp_ns
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.messages import depth_from_image, depth_of_another_size
from reasonseg_ros.ros.conversion import masks_from, pixels_message
from reasonseg_ros.ros.inputs.camera_infos import CameraInfos, KnownInfo, info_of_image
from reasonseg_ros.space.calibration import Kinds, intrinsics_from_info, kinds_differ
from reasonseg_ros.space.lens import carried_depth
from reasonseg_ros.space.points import back_projected
from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import BoolMask, FloatArray

KEPT_DEPTHS = 60
TOLERANCE_NS = 20_000_000
"""Maximum stamp difference of a depth image and the answer's image."""


def class_masks(answer: Segmentation, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Label mask and confidence, uint8 [H, W], of an answer to the question with that number."""
    labels = np.zeros((answer.height, answer.width), np.uint8)
    confidence = np.zeros_like(labels)
    for region, mask in zip(answer.regions, masks_from(answer), strict=True):
        labels[mask] = number
        confidence[mask] = np.maximum(confidence[mask], round(255 * min(max(region.mask_score, 0.0), 1.0)))
    return labels, confidence


def organised_cloud(header: Header, depth_m: FloatArray, lens: Intrinsics, mask: BoolMask) -> PointCloud2:
    """A point for each pixel, in the camera's optical frame; NaN outside the mask and where the depth is not known."""
    height, width = depth_m.shape
    points = np.full((height, width, 3), np.nan, np.float32)
    points[mask] = back_projected(depth_m, mask, lens)
    message = PointCloud2(header=header, height=height, width=width, point_step=12, row_step=12 * width)
    offsets = {"x": 0, "y": 4, "z": 8}
    message.fields = [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1) for name, offset in offsets.items()
    ]
    message.data = points.tobytes()
    return message


def label_info(vision_messages: Any, questions: Sequence[str]) -> Any:
    """vision_msgs/LabelInfo that names the questions; the package is given, as it is not everywhere."""
    classes = [
        vision_messages.VisionClass(class_id=number, class_name=text) for number, text in enumerate(questions, 1)
    ]
    return vision_messages.LabelInfo(class_map=classes)


class SemanticCostmapConsumer(Node):
    """Watches the questions and publishes their answers. An answer without depth is left out with a warning."""

    def __init__(self, questions: Sequence[str], **node_arguments: Any) -> None:
        super().__init__("semantic_layer", **node_arguments)
        self._numbers = {question: number for number, question in enumerate(questions, 1)}
        self._depths: deque[tuple[Image, tuple[KnownInfo, ...]]] = deque(maxlen=KEPT_DEPTHS)
        self._is_asked = False
        self._masks = self.create_publisher(Image, "~/label_mask", 5)
        self._confidences = self.create_publisher(Image, "~/confidence", 5)
        self._clouds = self.create_publisher(PointCloud2, "~/points", 5)
        self._queries = self.create_publisher(Query, "/reasonseg/query", len(questions))
        depths = self.create_subscription(Image, "depth", self._on_depth, qos_profile_sensor_data)
        self._infos = CameraInfos(self)
        settings = [self.declare_parameter(name, "auto").value for name in ("rectification", "depth_rectification")]
        self._kinds = Kinds.of("", str(depths.topic_name), *settings)
        self.create_subscription(Segmentation, "/reasonseg/segmentation", self._on_answer, 10)
        self.create_timer(0.5, self._ask)
        self._publish_labels(questions)

    def _publish_labels(self, questions: Sequence[str]) -> None:
        try:
            import vision_msgs.msg as vision_messages
        except ImportError:
            self.get_logger().error("vision_msgs is not installed; without label_info Nav2's layer marks nothing")
            return
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._labels = self.create_publisher(vision_messages.LabelInfo, "~/label_info", latched)
        self._labels.publish(label_info(vision_messages, questions))

    def _ask(self) -> None:
        """Called when the node appears, also after a restart."""
        is_there = self._queries.get_subscription_count() > 0
        if is_there and not self._is_asked:
            for question, number in self._numbers.items():
                self._queries.publish(Query(query_id=f"class {number}", text=question, mode=Query.WATCH))
        self._is_asked = is_there

    def _on_depth(self, message: Image) -> None:
        self._infos.look_for_latched()
        self._depths.append((message, self._infos.near(header_stamp_ns(message.header))))

    def _on_answer(self, answer: Segmentation) -> None:
        number = self._numbers.get(answer.question)
        if number is None or answer.status not in (Segmentation.OK, Segmentation.NO_TARGET):
            return
        labels, confidence = class_masks(answer, number)
        try:
            cloud = self._cloud(answer, labels > 0)
        except InvalidInput as error:
            self.get_logger().warning(f"answer to {answer.question!r} left out: {error}", throttle_duration_sec=5.0)
            return
        self._masks.publish(pixels_message(answer.header, labels))
        self._confidences.publish(pixels_message(answer.header, confidence))
        self._clouds.publish(cloud)

    def _cloud(self, answer: Segmentation, mask: BoolMask) -> PointCloud2:
        """The cloud of the mask's pixels. Raises InvalidInput if depth or calibration do not fit the mask."""
        if not answer.frame_3d:
            raise InvalidInput(answer.warning_3d or "its image came without depth; is the depth topic remapped?")
        stamp_ns, size_wh = header_stamp_ns(answer.header), (mask.shape[1], mask.shape[0])
        near = [known for known in self._depths if abs(header_stamp_ns(known[0].header) - stamp_ns) <= TOLERANCE_NS]
        if not near:
            raise InvalidInput("no depth image of its stamp; is the depth topic remapped?")
        depth, infos = min(near, key=lambda known: abs(header_stamp_ns(known[0].header) - stamp_ns))
        depth_m = depth_from_image(depth)
        if depth_m.shape != mask.shape:
            raise depth_of_another_size(depth_m, size_wh)
        info = info_of_image((*infos, *self._infos.near(stamp_ns)), stamp_ns, answer.header.frame_id, size_wh, 2.0)
        lens = intrinsics_from_info(info, size_wh, self._kinds.image)
        if self._kinds.depth != self._kinds.image and kinds_differ(info, size_wh, self._kinds.image):
            depth_m = carried_depth(depth_m, intrinsics_from_info(info, size_wh, self._kinds.depth), lens)
        return organised_cloud(answer.header, depth_m, lens, mask)


def main() -> int:
    questions = remove_ros_args(sys.argv)[1:]
    if not questions:
        print(__doc__)
        return 2
    rclpy.init()
    node = SemanticCostmapConsumer(questions)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

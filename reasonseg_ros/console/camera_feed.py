"""The camera topics that the node subscribes to, received by the console as raw messages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from rclpy.node import Node, NodeNameNonExistentError
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from reasonseg_ros.console.image_cache import ImageCache, RawMessage, Shot
from reasonseg_ros.console.options import ConsoleOptions
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.messages import is_depth
from reasonseg_ros.ros.inputs.camera_infos import CameraInfos
from reasonseg_ros.ros.inputs.input_topic import InputTopic
from reasonseg_ros.stamps import raw_stamp_ns

IMAGE_KINDS = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
INFO_KIND = "sensor_msgs/msg/CameraInfo"
READ_KINDS = (*IMAGE_KINDS, INFO_KIND)
QUEUE = 5


class CameraFeed:
    """Subscribes to the image, depth and calibration topics. Only for the executor's thread, except `with_info`.

    Topics that the options leave empty are those of the node. The first message of a topic shows whether it is depth.
    Call `look` periodically, because nodes and cameras come and go. `on_image` is called for every image.
    """

    def __init__(self, node: Node, options: ConsoleOptions, cache: ImageCache, on_image: Callable[[], None]) -> None:
        self._node = node
        self._options = options
        self._cache = cache
        self._on_image = on_image
        self._inputs: dict[str, InputTopic] = {}
        self._infos: CameraInfos | None = None
        self._is_depth: dict[str, bool] = {}
        self.look()

    def look(self) -> None:
        """Adapt to the node's current subscriptions and to the QoS of the publishers."""
        found = self._subscribed_by_node()
        wanted = {topic: kind for topic, kind in found.items() if kind in IMAGE_KINDS} or self._known()
        for name, is_of_depth in ((self._options.image_topic, False), (self._options.depth_topic, True)):
            if name:
                self._is_depth[name] = is_of_depth
                others = [topic for topic in wanted if self._is_depth.get(topic) == is_of_depth and topic != name]
                wanted = {topic: kind for topic, kind in wanted.items() if topic not in others}
                wanted[name] = wanted.get(name) or self._published_kind(name)
        for topic in [topic for topic in self._inputs if topic not in wanted]:
            self._inputs.pop(topic).destroy()
        for topic, kind in wanted.items():
            if topic not in self._inputs:
                on_data = partial(self._on_data, topic, kind)
                self._inputs[topic] = InputTopic(self._node, IMAGE_KINDS[kind], topic, on_data, "auto", QUEUE, raw=True)
        info_topic = self._options.camera_info_topic or next((t for t, k in found.items() if k == INFO_KIND), "")
        if info_topic and (self._infos is None or self._infos.topic != info_topic):
            self._close_infos()
            self._infos = CameraInfos(self._node, name=info_topic)
        for one in self._inputs.values():
            one.follow_publishers()
        if self._infos is not None:
            self._infos.look_for_latched()

    def with_info(self, shot: Shot) -> Shot:
        """The shot with the depth image and calibration of its time, where they are known. From any thread."""
        shot = self._cache.with_depth(shot)
        infos = self._infos.near(shot.image.stamp_ns) if self._infos is not None else ()
        if not infos:
            return shot
        info = RawMessage(INFO_KIND, infos[0].stamp_ns, serialize_message(infos[0].message))
        return Shot(shot.image, shot.depth, info)

    def describe(self) -> str:
        """The state of the image topics, for a user who sees no image."""
        images = [one for topic, one in self._inputs.items() if not self._is_depth.get(topic)]
        if not images:
            return f"{self._options.node_name} subscribes to no image topic yet; start it, or pass --image-topic"
        return "; ".join(one.report() for one in images)

    def destroy(self) -> None:
        for one in self._inputs.values():
            one.destroy()
        self._close_infos()

    def _close_infos(self) -> None:
        if self._infos is not None:
            self._infos.destroy()
            self._infos = None

    def _known(self) -> dict[str, str]:
        """The topics found so far; they are used while the node is not running."""
        return {topic: self._published_kind(topic) for topic in self._inputs}

    def _subscribed_by_node(self) -> dict[str, str]:
        namespace, _, name = self._options.node_name.rpartition("/")
        found: dict[str, str] = {}
        with suppress(NodeNameNonExistentError):
            for topic, kinds in self._node.get_subscriber_names_and_types_by_node(name, namespace or "/"):
                found[topic] = next((kind for kind in kinds if kind in READ_KINDS), "")
        return found

    def _published_kind(self, topic: str) -> str:
        kinds = [info.topic_type for info in self._node.get_publishers_info_by_topic(topic)]
        return next((kind for kind in kinds if kind in IMAGE_KINDS), "sensor_msgs/msg/Image")

    def _on_data(self, topic: str, kind: str, data: bytes) -> None:
        with suppress(InvalidInput):  # the message has no readable header; the node counts and reports these
            message = RawMessage(kind, raw_stamp_ns(data), data)
            if topic not in self._is_depth:
                self._is_depth[topic] = is_depth(deserialize_message(data, IMAGE_KINDS[kind]))
            if self._is_depth[topic]:
                self._cache.add_depth(message)
            else:
                self._cache.add_image(message)
                self._on_image()

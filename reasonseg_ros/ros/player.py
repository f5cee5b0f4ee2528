"""Plays a bag on real topics: at its own pace, or holding each image until the next one is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from reasonseg_ros.bags import BagReader, raw_stamp_ns, restamped, typestore
from reasonseg_ros.errors import InvalidInput

DEPTH_ENCODINGS = ("16UC1", "32FC1")
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
NODE_NAME = "bag_player"
NEXT_SERVICE = f"/{NODE_NAME}/next"

Message = tuple[str, bytes]
"""Topic and serialised bytes."""


class BagPublishers:
    """A publisher for each topic of an open bag. Bytes go out as they are, but for a new stamp if that is asked for."""

    def __init__(self, node: Node, topic_types: dict[str, str], restamp: bool) -> None:
        self._node = node
        quality = QoSProfile(depth=5)
        self._publishers = {
            topic: node.create_publisher(message_class(kind), topic, quality) for topic, kind in topic_types.items()
        }
        self._stamped = {topic for topic, kind in topic_types.items() if restamp and _begins_with_header(kind)}
        self._recorded_ns = self._now_ns = 0
        self._rate = 1.0

    def begin(self, recorded_ns: int, rate: float = 1.0) -> None:
        """From here on `recorded_ns` is now, and new stamps are as far apart as the recorded ones at that rate.

        So an image and its depth still have the same stamp.
        """
        self._recorded_ns, self._now_ns, self._rate = recorded_ns, self._node.get_clock().now().nanoseconds, rate

    def publish(self, topic: str, data: bytes) -> None:
        if topic in self._stamped:
            since_ns = round((raw_stamp_ns(data) - self._recorded_ns) / self._rate)
            data = restamped(data, max(self._now_ns + since_ns, 0))
        self._publishers[topic].publish(data)


class Holder:
    """Publishes the messages of one image again and again until `/bag_player/next` is called.

    The service answers with the stamp of the image that is held then, in nanoseconds.
    """

    def __init__(self, node: Node, publishers: BagPublishers, groups: Iterator[list[Message]], hold_hz: float) -> None:
        self._publishers = publishers
        self._groups = groups
        self._held = next(groups)
        node.create_service(Trigger, NEXT_SERVICE, self._on_next)
        node.create_timer(1.0 / hold_hz, self._publish)

    def _publish(self) -> None:
        self._publishers.begin(raw_stamp_ns(self._held[0][1]))
        for topic, data in self._held:
            self._publishers.publish(topic, data)

    def _on_next(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        group = next(self._groups, None)
        response.success = group is not None
        if group is not None:
            self._held = group
            self._publish()
        response.message = str(raw_stamp_ns(self._held[0][1]))
        return response


def message_class(kind: str) -> Any:
    """Class of a message type such as `sensor_msgs/msg/Image`. Raises InvalidInput where it is not installed."""
    package, _, name = kind.split("/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"message type {kind} is not installed; leave its topic out with --topics") from error


def image_groups(bag: BagReader, topics: Sequence[str]) -> Iterator[list[Message]]:
    """Each image with the other messages, depth among them, up to the next one.

    What comes before the first image is left out. Raises InvalidInput where there is no topic of colour images, or more
    than one.
    """
    images = [topic for topic in topics if bag.topics[topic] in IMAGE_TYPES and not _is_depth(bag, topic)]
    if len(images) != 1:
        raise InvalidInput(f"{len(images)} image topics to hold; choose one with --topics")
    group: list[Message] = []
    for topic, _, data in bag.raw(topics):
        if topic == images[0]:
            if group:
                yield group
            group = []
        if topic == images[0] or group:
            group.append((topic, data))
    if group:
        yield group


def _is_depth(bag: BagReader, topic: str) -> bool:
    """By the topic's first image."""
    message = next((message for _, _, message in bag.messages([topic])), None)
    return getattr(message, "encoding", "") in DEPTH_ENCODINGS or "compressedDepth" in getattr(message, "format", "")


def play(
    path: Path,
    topics: Sequence[str] = (),
    *,
    rate: float = 1.0,
    loop: bool = False,
    restamp: bool = False,
    hold_hz: float = 0.0,
) -> None:
    """Publish the bag at `path`: `rate` times as fast as recorded, or holding images where `hold_hz` is not 0.

    With `loop` it begins again at the end. With `restamp` stamps are of now, as far apart as they were recorded.
    """
    with BagReader(path) as bag:
        unknown = set(topics) - set(bag.topics)
        if unknown:
            raise InvalidInput(f"{path} has no topic {', '.join(sorted(unknown))}; it has {', '.join(bag.topics)}")
        chosen = {topic: kind for topic, kind in bag.topics.items() if not topics or topic in topics}
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(NODE_NAME)
        try:
            publishers = BagPublishers(node, chosen, restamp)
            if hold_hz:
                _hold(node, publishers, bag, list(chosen), hold_hz, loop)
            else:
                _play_timed(publishers, bag, list(chosen), rate, loop)
        finally:
            node.destroy_node()
            rclpy.shutdown()


def _hold(
    node: Node, publishers: BagPublishers, bag: BagReader, topics: Sequence[str], hold_hz: float, loop: bool
) -> None:
    def groups() -> Iterator[list[Message]]:
        yield from image_groups(bag, topics)
        while loop:
            yield from image_groups(bag, topics)

    ahead = groups()
    if next(image_groups(bag, topics), None) is None:
        raise InvalidInput(f"{bag.path} has no image")
    Holder(node, publishers, ahead, hold_hz)
    rclpy.spin(node)


def _play_timed(publishers: BagPublishers, bag: BagReader, topics: Sequence[str], rate: float, loop: bool) -> None:
    again = True
    while again:
        start_s, first_ns, last_ns = time.monotonic(), None, None
        for topic, stamp_ns, data in bag.raw(topics):
            if first_ns is None:
                first_ns = stamp_ns
                publishers.begin(first_ns, rate)
            last_ns = stamp_ns
            time.sleep(max(0.0, start_s + (stamp_ns - first_ns) / 1e9 / rate - time.monotonic()))
            publishers.publish(topic, data)
        again = loop and last_ns is not None


def _begins_with_header(kind: str) -> bool:
    fields = typestore().fielddefs[kind][1] if kind in typestore().fielddefs else []
    return bool(fields) and fields[0][1][1] == "std_msgs/msg/Header"

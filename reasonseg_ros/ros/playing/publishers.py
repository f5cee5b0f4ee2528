"""A publisher for each topic of a bag, with the recorded types and durability."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import yaml
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from reasonseg_ros.bags import BagReader, Record
from reasonseg_ros.bags.records import Topic
from reasonseg_ros.bags.restamping import Restamping
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.yaml_loader import Loader

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
DELIVERY_S = 2.0
"""Maximum wait at the end for reliable subscribers to confirm the last messages."""
DEPTH, IMAGE_DEPTH = 100, 10
"""Queue for slow subscribers. Many small messages may have been recorded at the same moment."""
MOST_QOS_CHARACTERS = 100_000
MOST_LATCHED = 1000
"""Messages that a latched topic keeps for late subscribers."""


class BagPublishers:
    """A publisher for each topic of an open bag, reliable, and latched if one of the recorded publishers was.

    Messages of the descriptions in `left_out` are not published.
    """

    def __init__(
        self, node: Node, bag: BagReader, topics: Sequence[str], restamp: bool, left_out: Collection[Topic] = ()
    ) -> None:
        self._left_out = left_out
        self._node = node
        self._restamp = restamp
        self._restamping: Restamping | None = None
        self._publishers = {topic: self._publisher(bag, topic) for topic in topics}

    def _publisher(self, bag: BagReader, topic: str) -> Any:
        quality = QoSProfile(depth=IMAGE_DEPTH if bag.topics[topic] in IMAGE_TYPES else DEPTH)
        if is_latched(topic, bag.offered_qos(topic)):
            quality.durability = DurabilityPolicy.TRANSIENT_LOCAL
            quality.depth = min(max(bag.counts[topic], 1), MOST_LATCHED)
        return self._node.create_publisher(message_class(bag.topics[topic]), topic, quality)

    def begin(self, first_log_ns: int, rate: float = 1.0) -> None:
        """Map this log time to now; new stamps have the recorded differences at that rate."""
        if self._restamp:
            self._restamping = Restamping(first_log_ns, self._node.get_clock().now().nanoseconds, rate)

    def publish(self, record: Record) -> None:
        """Raises InvalidInput for a message that is too damaged to be stamped."""
        if record.topic in self._left_out:
            return
        data = self._restamping.data(record) if self._restamping else record.data
        self._publishers[record.topic.name].publish(data)

    def wait_for_delivery(self) -> None:
        deadline_s = time.monotonic() + DELIVERY_S
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=max(deadline_s - time.monotonic(), 0.0)))


def is_latched(topic: str, offered_qos: Sequence[str]) -> bool:
    """Whether one of the recorded publishers was transient local, by the YAML texts that rosbag2 records.

    `/tf_static` always is: its listeners request it, and older recorders and converters store no quality of service.
    """
    if topic.endswith("/tf_static"):
        return True
    for text in offered_qos:
        with suppress(yaml.YAMLError, TypeError, KeyError, AttributeError, RecursionError):
            profiles = yaml.load(text[:MOST_QOS_CHARACTERS], Loader) or []
            if any(str(profile["durability"]).lower() in ("1", "transient_local") for profile in profiles):
                return True
    return False


def message_class(kind: str) -> Any:
    """Class of a message type such as `sensor_msgs/msg/Image`. Raises InvalidInput if it is not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    # The name comes from a bag; one that is no name at all makes the import raise other errors.
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InvalidInput(f"message type {kind} is not installed; leave its topic out with --topics") from error

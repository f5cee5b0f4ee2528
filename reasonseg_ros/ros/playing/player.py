"""Plays a bag on real topics: at its own pace, or holding each image until the next one is asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_topic_name import validate_topic_name
from std_srvs.srv import Trigger

from reasonseg_ros.bags import BagReader, Damage, Record, decoded, raw_stamp_ns
from reasonseg_ros.bags.restamping import Restamping
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.messages import is_depth
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.ros.message_fields import differing_field

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
NODE_NAME = "bag_player"
NEXT_SERVICE = f"/{NODE_NAME}/next"

DISCOVERY_S = 0.5
"""Time for subscribers to find the publishers, before the first message. A busy machine may take seconds."""
DELIVERY_S = 2.0
"""Longest wait at the end for reliable subscribers to confirm the last messages."""
TOLD_WAIT_S, LONGEST_WAIT_S = 60.0, 1e8
DEPTH, IMAGE_DEPTH = 100, 10
"""Messages that wait for slow subscribers. Many small ones may have been recorded at the same moment."""
MOST_QOS_CHARACTERS = 100_000
MOST_LATCHED = 1000
"""Messages that a latched topic keeps for late subscribers."""


class BagPublishers:
    """A publisher for each topic of an open bag, reliable, and latched if one of the recorded publishers was."""

    def __init__(self, node: Node, bag: BagReader, topics: Sequence[str], restamp: bool) -> None:
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
        """From here on this log time is now, and new stamps are as far apart as the recorded ones at that rate."""
        if self._restamp:
            self._restamping = Restamping(first_log_ns, self._node.get_clock().now().nanoseconds, rate)

    def publish(self, record: Record) -> None:
        """Raises InvalidInput for a message that is damaged so that it cannot be stamped."""
        data = self._restamping.data(record) if self._restamping else record.data
        self._publishers[record.topic.name].publish(data)

    def wait_for_delivery(self) -> None:
        deadline_s = time.monotonic() + DELIVERY_S
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=max(deadline_s - time.monotonic(), 0.0)))


def is_latched(topic: str, offered_qos: Sequence[str]) -> bool:
    """Whether one of the recorded publishers was transient local, by the YAML texts that rosbag2 records.

    `/tf_static` always is: its listeners ask for it, and older recorders and converters note no quality of service.
    """
    if topic.endswith("/tf_static"):
        return True
    for text in offered_qos:
        with suppress(yaml.YAMLError, TypeError, KeyError, AttributeError, RecursionError):
            profiles = yaml.safe_load(text[:MOST_QOS_CHARACTERS]) or []
            if any(str(profile["durability"]).lower() in ("1", "transient_local") for profile in profiles):
                return True
    return False


class Holder:
    """Publishes the messages of one image again and again until `/bag_player/next` is called.

    The service answers with the stamp of the image that is held then, in nanoseconds.
    """

    def __init__(self, node: Node, publishers: BagPublishers, groups: Iterator[list[Record]], hold_hz: float) -> None:
        self._publishers = publishers
        self._groups = groups
        self._held = next(groups)
        node.create_service(Trigger, NEXT_SERVICE, self._on_next)
        node.create_timer(1.0 / hold_hz, self._publish)

    def _publish(self) -> None:
        self._publishers.begin(self._held[0].stamp_ns)
        for record in self._held:
            with suppress(InvalidInput):  # damaged; nothing to stamp
                self._publishers.publish(record)

    def _on_next(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        group = next(self._groups, None)
        response.success = group is not None
        if group is not None:
            self._held = group
            self._publish()
        response.message = str(raw_stamp_ns(self._held[0].data))
        return response


def message_class(kind: str) -> Any:
    """Class of a message type such as `sensor_msgs/msg/Image`. Raises InvalidInput if it is not installed."""
    package, _, name = kind.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    # The name comes from a bag; one that is no name at all makes the import raise other errors.
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InvalidInput(f"message type {kind} is not installed; leave its topic out with --topics") from error


def image_groups(
    bag: BagReader, topics: Sequence[str], on_damage: Callable[[Damage], object] = lambda _: None
) -> Iterator[list[Record]]:
    """Each image with the other messages, depth among them, up to the next one.

    What comes before the first image is left out. `on_damage` gets what cannot be read. Raises InvalidInput if there is
    no topic of colour images, or more than one.
    """
    images = [topic for topic in topics if bag.topics[topic] in IMAGE_TYPES and not _is_depth(bag, topic)]
    if len(images) != 1:
        raise InvalidInput(f"{len(images)} image topics to hold; choose one with --topics")
    group: list[Record] = []
    for record in bag.records(topics):
        if isinstance(record, Damage):
            on_damage(record)
            continue
        is_image = record.topic.name == images[0]
        if is_image:
            if group:
                yield group
            group = []
        if is_image or group:
            group.append(record)
    if group:
        yield group


def _is_depth(bag: BagReader, topic: str) -> bool:
    """By the topic's first image that is sound."""
    for item in bag.records([topic]):
        if isinstance(item, Record):
            with suppress(InvalidInput):  # a damaged one says nothing
                return is_depth(decoded(item))
    return False


def play(
    path: Path,
    topics: Sequence[str] = (),
    *,
    rate: float = 1.0,
    loop: bool = False,
    restamp: bool = False,
    hold_hz: float = 0.0,
    delay_s: float = DISCOVERY_S,
) -> int:
    """Publish every message of the bag at `path` once, `rate` times as fast as recorded.

    Before the first message it waits `delay_s` for subscribers, as ROS does not tell which are still to be found.
    With `hold_hz` above 0 each image is held instead. With `loop` it begins again at the end. With `restamp` stamps are
    of now, as far apart as they were recorded. Returns 1, and prints why, if some messages could not be published.
    """
    with BagReader(path) as bag:
        chosen, problems = _playable(bag, topics)
        _tell(bag.notes)
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(NODE_NAME)
        try:
            publishers = BagPublishers(node, bag, chosen, restamp)
            if hold_hz:
                _hold(node, publishers, bag, chosen, hold_hz, loop)
            else:
                time.sleep(delay_s)
                problems += _play_timed(publishers, bag, chosen, rate, loop)
        finally:
            node.destroy_node()
            rclpy.shutdown()
    _tell(problems)
    return 1 if problems else 0


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"reasonseg play: {one_line(line)}", file=sys.stderr)


def _playable(bag: BagReader, topics: Sequence[str]) -> tuple[list[str], list[str]]:
    """Topics to publish, and why others are left out.

    Raises InvalidInput for a topic that was asked for and cannot be published, or if there is none.
    """
    if unknown := set(topics) - set(bag.topics):
        reasons = [f"{topic} ({bag.skipped[topic][0]})" if topic in bag.skipped else topic for topic in sorted(unknown)]
        raise InvalidInput(f"{bag.path} has no topic {', '.join(reasons)}; it has {', '.join(bag.topics)}")
    if topics:
        for wanted in topics:
            _check_playable(bag, wanted)
        return list(topics), []
    chosen: list[str] = []
    problems: list[str] = []
    for topic in bag.topics:
        try:
            _check_playable(bag, topic)
            chosen.append(topic)
        except InvalidInput as error:
            if bag.counts[topic]:
                problems.append(f"{topic}: {bag.counts[topic]} messages not published: {error}")
    if not chosen:
        why = "; ".join([*problems, *bag.notes]) or "it is empty"
        raise InvalidInput(f"{bag.path} has no topic that can be published: {why}")
    return chosen, problems


def _check_playable(bag: BagReader, topic: str) -> None:
    """Raises InvalidInput for a topic whose type is not installed as recorded, or whose name ROS does not take."""
    kind = bag.topics[topic]
    message_class(kind)
    recorded = bag.definition(topic)
    if recorded and (field := differing_field(recorded, kind, message_class)):
        raise InvalidInput(
            f"the installed {kind} is of another version, its {field} differs; install the version that the bag was "
            "recorded with, or leave its topic out with --topics"
        )
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"{topic!r:.200} is no name of a topic ({reason}); leave it out with --topics") from error


def _latched_before(bag: BagReader, topics: Sequence[str], first: Record) -> Iterator[Record]:
    """Messages before the first image that hold from then on, such as `/tf_static` or a latched calibration."""
    latched = [topic for topic in topics if is_latched(topic, bag.offered_qos(topic))]
    for record in bag.records(latched) if latched else ():
        if isinstance(record, Record):
            if record.stamp_ns >= first.stamp_ns:
                return
            yield record


def _hold(
    node: Node, publishers: BagPublishers, bag: BagReader, topics: Sequence[str], hold_hz: float, loop: bool
) -> None:
    def groups() -> Iterator[list[Record]]:
        yield from image_groups(bag, topics, lambda damage: _tell([str(damage)]))
        _tell(list(bag.shortfalls(topics).values()))
        while loop:
            yield from image_groups(bag, topics)

    ahead = groups()
    first = next(image_groups(bag, topics), None)
    if first is None:
        raise InvalidInput(f"{bag.path} has no image")
    publishers.begin(first[0].stamp_ns)
    for record in _latched_before(bag, topics, first[0]):
        publishers.publish(record)
    Holder(node, publishers, ahead, hold_hz)
    rclpy.spin(node)


def _sleep(wait_s: float, record: Record) -> None:
    if wait_s > TOLD_WAIT_S:  # perhaps a message without a log time
        _tell([f"the next message, on {record.topic.name}, was recorded {wait_s:.0f} s later; --rate shortens it"])
    time.sleep(min(max(wait_s, 0.0), LONGEST_WAIT_S))


def _play_timed(publishers: BagPublishers, bag: BagReader, topics: Sequence[str], rate: float, loop: bool) -> list[str]:
    """Publish every message at its time. Returns what could not be published; in a loop the first round tells it."""
    is_first_round = True
    while True:
        problems: list[str] = []
        start_s, first_ns = time.monotonic(), None
        for record in bag.records(topics):
            if isinstance(record, Damage):
                problems.append(str(record))
                continue
            if first_ns is None:
                first_ns = record.stamp_ns
                publishers.begin(first_ns, rate)
            _sleep(start_s + (record.stamp_ns - first_ns) / 1e9 / rate - time.monotonic(), record)
            try:
                publishers.publish(record)
            except InvalidInput as error:
                problems.append(f"a message on {record.topic.name} is not published: {error}")
        problems += bag.shortfalls(topics).values()
        if not loop or first_ns is None:
            publishers.wait_for_delivery()
            return problems
        if is_first_round:
            _tell(problems)
        is_first_round = False

"""Holds each image of a bag until the next one is requested."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import rclpy
from rclpy.node import Node
from std_srvs.srv import Trigger

from reasonseg_ros.bags import BagReader, Damage, Record, decoded, raw_stamp_ns
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.messages import is_depth
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.ros.playing.publishers import IMAGE_TYPES, BagPublishers, is_latched

NODE_NAME = "bag_player"
NEXT_SERVICE = f"/{NODE_NAME}/next"


class Holder:
    """Publishes the messages of one image again and again until `/bag_player/next` is called.

    The service answers with the stamp of the new image, in nanoseconds.
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


def image_groups(
    bag: BagReader, topics: Sequence[str], on_damage: Callable[[Damage], object] = lambda _: None
) -> Iterator[list[Record]]:
    """Each image with the other messages, including depth, up to the next one. Messages before the first image are left
    out. `on_damage` gets unreadable parts. Raises InvalidInput if there is no topic of colour images, or more than one.
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
    """Whether the topic has depth, by its first undamaged image."""
    for item in bag.records([topic]):
        if isinstance(item, Record):
            with suppress(InvalidInput):  # a damaged one is inconclusive
                return is_depth(decoded(item))
    return False


def print_problems(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"reasonseg play: {one_line(line)}", file=sys.stderr)


def _latched_before(bag: BagReader, topics: Sequence[str], first: Record) -> Iterator[Record]:
    """Messages before the first image that stay valid, such as `/tf_static` or a latched calibration."""
    latched = [topic for topic in topics if is_latched(topic, bag.offered_qos(topic))]
    for record in bag.records(latched) if latched else ():
        if isinstance(record, Record):
            if record.stamp_ns >= first.stamp_ns:
                return
            yield record


def hold(
    node: Node, publishers: BagPublishers, bag: BagReader, topics: Sequence[str], hold_hz: float, loop: bool
) -> None:
    def groups() -> Iterator[list[Record]]:
        yield from image_groups(bag, topics, lambda damage: print_problems([str(damage)]))
        print_problems(list(bag.shortfalls(topics).values()))
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

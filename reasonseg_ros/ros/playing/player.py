"""Plays a bag on real topics: at its recorded pace, or holding each image until the next one is requested."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from reasonseg_ros.bags import BagReader, Damage, Record
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.ros.playing.choice import playable
from reasonseg_ros.ros.playing.holding import NODE_NAME, hold, print_problems
from reasonseg_ros.ros.playing.publishers import BagPublishers

DISCOVERY_S = 0.5
"""Time for subscribers to find the publishers, before the first message. A busy machine may take seconds."""
TOLD_WAIT_S, LONGEST_WAIT_S = 60.0, 1e8


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

    Before the first message it waits `delay_s` for subscribers, because ROS does not know which ones are still to be
    discovered. With `hold_hz` above 0 each image is held instead. With `loop` it restarts at the end. With `restamp`
    stamps are current, with the recorded differences. Returns 1, and prints why, if some messages could not be
    published.
    """
    with BagReader(path) as bag:
        choice = playable(bag, topics)
        print_problems(bag.notes)
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(NODE_NAME)
        try:
            publishers = BagPublishers(node, bag, choice.topics, restamp, choice.left_out)
            problems = choice.problems
            if hold_hz:
                print_problems(problems)  # at once, as it goes on until it is stopped
                hold(node, publishers, bag, choice.topics, hold_hz, loop)
            else:
                time.sleep(delay_s)
                problems += _play_timed(publishers, bag, choice.topics, rate, loop)
        finally:
            node.destroy_node()
            rclpy.shutdown()
    print_problems(problems)
    return 1 if problems else 0


def _sleep(wait_s: float, record: Record) -> None:
    if wait_s > TOLD_WAIT_S:  # perhaps a message without a log time
        print_problems(
            [f"the next message, on {record.topic.name}, was recorded {wait_s:.0f} s later; --rate shortens it"]
        )
    time.sleep(min(max(wait_s, 0.0), LONGEST_WAIT_S))


def _play_timed(publishers: BagPublishers, bag: BagReader, topics: Sequence[str], rate: float, loop: bool) -> list[str]:
    """Publish every message at its time. Returns problems; in a loop only the first round prints them."""
    is_first_round = True
    while True:
        problems: list[str] = []
        start_s, first_ns = 0.0, None
        for record in bag.records(topics):
            if isinstance(record, Damage):
                problems.append(str(record))
                continue
            if first_ns is None:
                first_ns = record.stamp_ns
                start_s = time.monotonic()  # not before: opening the bag takes time, and stamps count from here
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
            print_problems(problems)
        is_first_round = False

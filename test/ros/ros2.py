"""The `ros2` commands of the documentation, for machines without ros2cli: `topic pub`, `topic echo` and `run`.

Subscriptions choose their QoS like `ros2 topic echo`: what all publishers of the topic offer.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import rclpy
import yaml
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from reasonseg_ros.ros.playing.publishers import message_class

LIMIT_S = 90.0


def main():
    parser = argparse.ArgumentParser(prog="ros2")
    verbs = parser.add_subparsers(dest="verb", required=True)
    topic = verbs.add_parser("topic").add_subparsers(dest="action", required=True)
    pub = topic.add_parser("pub")
    pub.add_argument("--once", action="store_true", required=True)
    pub.add_argument("-w", type=int, default=0)
    pub.add_argument("topic")
    pub.add_argument("kind")
    pub.add_argument("values")
    echo = topic.add_parser("echo")
    echo.add_argument("--once", action="store_true", required=True)
    echo.add_argument("topic")
    echo.add_argument("--field", required=True)
    run = verbs.add_parser("run")
    run.add_argument("package", choices=["reasonseg_ros"])
    run.add_argument("rest", nargs=argparse.REMAINDER)
    settings = parser.parse_args()
    if settings.verb == "run":
        script = Path(__file__).resolve().parents[2] / "scripts" / settings.rest[0]
        os.execv(sys.executable, [sys.executable, str(script), *settings.rest[1:]])
    rclpy.init(args=[])
    node = rclpy.create_node("ros2cli")
    {"pub": publish, "echo": print_field}[settings.action](node, settings)


def publish(node, settings):
    kind = message_class(settings.kind)
    publisher = node.create_publisher(kind, settings.topic, QoSProfile(depth=10))
    until(node, lambda: publisher.get_subscription_count() >= settings.w)
    publisher.publish(kind(**yaml.safe_load(settings.values)))
    until(node, lambda: publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=1)))


def print_field(node, settings):
    until(node, lambda: node.count_publishers(settings.topic))
    infos = node.get_publishers_info_by_topic(settings.topic)
    latched = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in infos)
    reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in infos)
    quality = QoSProfile(
        depth=10,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
    )
    got = []
    node.create_subscription(message_class(infos[0].topic_type), settings.topic, got.append, quality)
    until(node, lambda: got)
    print(getattr(got[0], settings.field))
    print("---")


def until(node, done):
    deadline_s = time.monotonic() + LIMIT_S
    while not done():
        if time.monotonic() > deadline_s:
            sys.exit(f"ros2: nothing within {LIMIT_S} s")
        rclpy.spin_once(node, timeout_sec=0.1)


if __name__ == "__main__":
    main()

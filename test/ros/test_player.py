import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image

from reasonseg_ros import bags
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.ros.player import image_groups, message_class
from reasonseg_ros.types import Intrinsics, Query

ROOT = Path(__file__).parents[2]
PERIOD_NS = 200_000_000


@pytest.fixture
def bag(tmp_path):
    """Three images with their camera, 0.2 s apart, and a question after each; one camera message comes too early."""
    info = Intrinsics(50.0, 50.0, 4.0, 3.0)
    with bags.BagWriter(tmp_path / "bag") as bag:
        bag.write("/camera/camera_info", bags.camera_info_message(info, (8, 6), 1, "optical"), 1)
        for number in range(1, 4):
            stamp_ns = number * PERIOD_NS
            image = bags.image_message(np.full((6, 8, 3), number, np.uint8), stamp_ns, "optical")
            bag.write("/camera/image", image, stamp_ns)
            bag.write("/camera/camera_info", bags.camera_info_message(info, (8, 6), stamp_ns, "optical"), stamp_ns)
            bag.write("/query", bags.query_message(Query(f"question {number}")), stamp_ns + 1)
    return tmp_path / "bag"


def test_an_image_is_held_with_what_belongs_to_it(bag):
    with bags.BagReader(bag) as reader:
        groups = list(image_groups(reader, ["/camera/image", "/camera/camera_info"]))
    topics = [[record.topic.name for record in group] for group in groups]
    assert topics == [["/camera/image", "/camera/camera_info"]] * 3
    assert [bags.raw_stamp_ns(record.data) for group in groups for record in group] == [
        number * PERIOD_NS for number in (1, 1, 2, 2, 3, 3)
    ]


def test_depth_is_held_with_its_image(tmp_path):
    with bags.BagWriter(tmp_path / "bag") as bag:
        for stamp_ns in (1, 2):
            bag.write("/image", bags.image_message(np.zeros((6, 8, 3), np.uint8), stamp_ns, "optical"), stamp_ns)
            bag.write("/depth", bags.depth_message(np.ones((6, 8), np.float32), stamp_ns, "optical"), stamp_ns)
    with bags.BagReader(tmp_path / "bag") as reader:
        groups = list(image_groups(reader, ["/depth", "/image"]))
    assert [[record.topic.name for record in group] for group in groups] == [["/image", "/depth"]] * 2


def test_holding_needs_one_image_topic(bag):
    with bags.BagReader(bag) as reader, pytest.raises(InvalidInput, match="0 image topics"):
        next(image_groups(reader, ["/query"]))


@pytest.mark.parametrize("kind", ["no_such_msgs/msg/Thing", "std_msgs/msg/Thing"])
def test_a_message_type_that_is_not_there_is_named(kind):
    with pytest.raises(InvalidInput, match=kind):
        message_class(kind)


def test_another_stamp_changes_nothing_else(bag):
    with bags.BagReader(bag) as reader:
        data = next(data for topic, _, data in reader.raw() if topic == "/camera/image")
    before = deserialize_message(data, Image)
    after = deserialize_message(bags.restamped(data, 7_000_000_009), Image)
    assert (after.header.stamp.sec, after.header.stamp.nanosec) == (7, 9)
    after.header.stamp = before.header.stamp
    assert after == before


def test_a_bag_is_played_at_its_pace_with_new_stamps(bag, context, domain_id):
    node = Node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received = {"/camera/image": [], "/camera/camera_info": []}
    node.create_subscription(Image, "/camera/image", lambda m: received["/camera/image"].append((time.time(), m)), 10)
    node.create_subscription(
        CameraInfo, "/camera/camera_info", lambda m: received["/camera/camera_info"].append((time.time(), m)), 10
    )
    player = subprocess.Popen(
        [sys.executable, "-m", "reasonseg_ros.cli", "play", bag, "--loop", "--restamp", "--rate", "0.5"],
        cwd=ROOT,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline_s = time.monotonic() + 20
        while len(received["/camera/image"]) < 5 and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        player.terminate()
        _, errors = player.communicate(timeout=10)
        executor.shutdown()
        node.destroy_node()
    assert player.returncode == 143
    assert errors == ""
    arrived_s, images = zip(*received["/camera/image"], strict=True)
    grey = [int(image.data[0]) for image in images]
    assert all(later in (earlier + 1, 1) for earlier, later in pairwise(grey))
    assert {grey[0], *grey} == {1, 2, 3}
    gaps_s = [b - a for a, b, level in zip(arrived_s, arrived_s[1:], grey[1:], strict=False) if level > 1]
    assert min(gaps_s) > 0.2  # recorded 0.2 s apart and played at half the pace; a busy machine may be late, not early
    for seconds, message in [*received["/camera/image"], *received["/camera/camera_info"]]:
        stamp_ns = bags.header_stamp_ns(message.header)
        assert abs(seconds - stamp_ns / 1e9) < 2.0
    stamps_ns = {bags.header_stamp_ns(image.header) for image in images}
    infos_ns = {bags.header_stamp_ns(info.header) for _, info in received["/camera/camera_info"]}
    assert len(stamps_ns & infos_ns) >= 3  # what was recorded together stays together

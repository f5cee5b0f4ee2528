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
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from reasonseg_ros import bags
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.ros.playing.holding import image_groups
from reasonseg_ros.ros.playing.publishers import is_latched, message_class
from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import Query

ROOT = Path(__file__).parents[3]
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
        deadline_s = time.monotonic() + 90
        while len(received["/camera/image"]) < 5 and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        player.terminate()
        _, errors = player.communicate(timeout=60)
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


LATE = DurabilityPolicy.TRANSIENT_LOCAL
LATCHED = "- history: 1\n  depth: 1\n  reliability: 1\n  durability: {}"


@pytest.mark.parametrize(
    ("topic", "recorded", "is_expected"),
    [
        ("/map", [LATCHED.format(1)], True),
        ("/map", [LATCHED.format("transient_local")], True),
        ("/map", [LATCHED.format(2)], False),
        ("/map", [LATCHED.format(2), LATCHED.format(1)], True),
        ("/map", [f"{LATCHED.format(2)}\n{LATCHED.format(1)}"], True),
        ("/map", [], False),
        ("/map", ["", "]", "5", "- 5", "&a [*a]", "- {}"], False),
        ("/tf_static", [], True),
        ("/robot/tf_static", [LATCHED.format(2)], True),
        ("/tf", [], False),
    ],
)
def test_what_was_latched_is_latched(topic, recorded, is_expected):
    assert is_latched(topic, recorded) == is_expected


def write_latched(path):
    """A latched text, /tf_static of two publishers, and twelve images of one moment, after a start of 1.5 s."""
    unlimited = QosTime(sec=9223372036, nsec=854775807)
    qos = Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.BEST_EFFORT, QosDurability.TRANSIENT_LOCAL, unlimited, unlimited,
        QosLiveliness.AUTOMATIC, unlimited, False,
    )  # fmt: skip
    types, store = bags.typestore().types, bags.typestore()
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        text = writer.add_connection("/text", "std_msgs/msg/String", typestore=store, offered_qos_profiles=[qos])
        static = writer.add_connection("/tf_static", "std_msgs/msg/String", typestore=store)
        images = writer.add_connection("/camera/image", "sensor_msgs/msg/Image", typestore=store)

        def write(connection, message, stamp_ns):
            writer.write(connection, stamp_ns, bytes(store.serialize_cdr(message, message.__msgtype__)))

        write(text, types["std_msgs/msg/String"](data="hello"), 1)
        for number in range(2):
            write(static, types["std_msgs/msg/String"](data=f"publisher {number}"), 2 + number)
        for number in range(12):
            write(images, bags.image_message(np.full((6, 8, 3), number, np.uint8), 9, "optical"), 1_500_000_000)
    return path


def play(bag, domain_id, *options):
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    command = [sys.executable, "-m", "reasonseg_ros.cli", "play", bag, *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def test_every_message_comes_once_and_latched_ones_come_to_late_listeners_too(tmp_path, context, domain_id):
    bag = write_latched(tmp_path / "bag")
    node = Node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    latched = QoSProfile(depth=10, durability=LATE)
    images, texts, late = [], [], {"/text": [], "/tf_static": []}
    node.create_subscription(Image, "/camera/image", images.append, 50)
    node.create_subscription(String, "/text", texts.append, latched)
    player = play(bag, domain_id, "--delay", "3", "--rate", "0.25")  # time to be found, also by late ones
    try:
        deadline_s = time.monotonic() + 90
        while player.poll() is None and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.1)
            if texts and not node.count_subscribers("/tf_static"):
                node.create_subscription(String, "/text", late["/text"].append, latched)
                node.create_subscription(String, "/tf_static", late["/tf_static"].append, latched)
        _, errors = player.communicate(timeout=60)
    finally:
        player.kill()
        executor.shutdown()
        node.destroy_node()
    assert (player.returncode, errors) == (0, "")
    assert [int(image.data[0]) for image in images] == list(range(12))
    assert [text.data for text in texts] == ["hello"]
    assert len(late["/text"]) == 1 and len(late["/tf_static"]) == 2


def test_held_images_come_with_what_was_latched_before_them(tmp_path, context, domain_id):
    node = Node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    images, texts = [], []
    node.create_subscription(Image, "/camera/image", images.append, 50)
    node.create_subscription(String, "/text", texts.append, QoSProfile(depth=1, durability=LATE))
    player = play(write_latched(tmp_path / "bag"), domain_id, "--hold", "20")
    try:
        deadline_s = time.monotonic() + 90
        while not (len(images) > 3 and texts) and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        player.terminate()
        player.communicate(timeout=60)
        executor.shutdown()
        node.destroy_node()
    assert {int(image.data[0]) for image in images} == {0}
    assert [text.data for text in texts] == ["hello"]


def test_what_is_missing_or_cannot_be_published_ends_with_status_1_and_both_numbers(tmp_path, domain_id):
    bag = write_latched(tmp_path / "bag")
    with Writer(tmp_path / "other", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        store = bags.typestore()
        odd = writer.add_connection("/not a name", "std_msgs/msg/String", typestore=store)
        sound = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        data = bytes(store.serialize_cdr(store.types["std_msgs/msg/String"](data="x"), "std_msgs/msg/String"))
        for connection in (odd, sound):
            writer.write(connection, 1, data)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("message_count: 12", "message_count: 15"))
    players = [play(bag, domain_id, "--rate", "50"), play(tmp_path / "other", domain_id)]
    reported = [player.communicate(timeout=90)[1] for player in players]
    assert [player.returncode for player in players] == [1, 1]
    assert "/camera/image: 12 of the 15 messages that metadata.yaml counts were read" in reported[0]
    assert "'/not a name' is no name of a topic" in reported[1] and "1 messages not published" in reported[1]

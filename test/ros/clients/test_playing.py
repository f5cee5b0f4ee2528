"""Bags played between processes: every message once, with new stamps, to every kind of listener."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from nav_msgs.msg import Path as PathMessage
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from reasonseg_ros import bags
from reasonseg_ros.spatial import Intrinsics
from test.bags.other_versions import WITH_SERIAL, write_versions

ROOT = Path(__file__).parents[3]
SECOND = 10**9
LOG_NS = 1_600_000_000 * SECOND
DEVICE_NS = 77 * SECOND
"""The camera's clock: since it was switched on."""
DISCOVERY_S = "4"
"""Subscribers find publishers in 0.1 s, and in 3 s on a machine that is busy with other tests."""
COUNT, PERIOD_NS = 12, SECOND // 10
VOLATILE = QoSProfile(depth=100)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
LATE = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def write(path, messages, storage=StoragePlugin.MCAP):
    """A bag of (topic, message, log time)."""
    store = bags.typestore()
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections = {}
        for topic, message, log_ns in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], log_ns, bytes(store.serialize_cdr(message, kind)))
    return path


def path_message(stamp_ns):
    types = bags.typestore().types
    point = types["geometry_msgs/msg/Point"](x=1.0, y=2.0, z=3.0)
    rotation = types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
    pose = types["geometry_msgs/msg/Pose"](position=point, orientation=rotation)
    poses = [
        types["geometry_msgs/msg/PoseStamped"](header=bags.header(stamp_ns + n * SECOND, "map"), pose=pose)
        for n in range(3)
    ]
    return types["nav_msgs/msg/Path"](header=bags.header(stamp_ns, "map"), poses=poses)


def recording():
    """Colour and depth of a device's clock, a calibration of the recorder's, a path, and a depth without stamps."""
    found = []
    info = Intrinsics(50.0, 50.0, 4.0, 3.0)
    for number in range(COUNT):
        log_ns, device_ns = LOG_NS + number * PERIOD_NS, DEVICE_NS + number * PERIOD_NS
        colour = bags.image_message(np.full((6, 8, 3), number, np.uint8), device_ns, "optical")
        depth = bags.depth_message(np.full((6, 8), number, np.float32), device_ns, "optical")
        unstamped = bags.depth_message(np.full((6, 8), number, np.float32), 0, "optical")
        found += [("/color", colour, log_ns), ("/depth", depth, log_ns + 7_000_000)]
        found += [("/info", bags.camera_info_message(info, (8, 6), log_ns, "optical"), log_ns)]
        found += [("/path", path_message(log_ns), log_ns), ("/unstamped", unstamped, log_ns)]
    return found


def play(bag, domain_id, *options):
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    command = [sys.executable, "-m", "reasonseg_ros.cli", "play", bag, "--delay", DISCOVERY_S, *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


class Listener:
    def __init__(self, context):
        self.node = Node("listener", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)

    def hear(self, kind, topic, quality=VOLATILE):
        """A list that gets what comes, and when."""
        received = []
        self.node.create_subscription(kind, topic, lambda m: received.append((time.time_ns(), m)), quality)
        return received

    def until_ended(self, player, is_done=lambda: False):
        deadline_s = time.monotonic() + 120
        try:
            while player.poll() is None and not is_done() and time.monotonic() < deadline_s:
                self.executor.spin_once(timeout_sec=0.05)
            for _ in range(20):
                self.executor.spin_once(timeout_sec=0.02)
        finally:
            if player.poll() is None:
                player.terminate()
        return player.communicate(timeout=60)[1]


@pytest.fixture
def listener(context):
    listener = Listener(context)
    yield listener
    listener.executor.shutdown()
    listener.node.destroy_node()


def stamps_ns(received):
    return [bags.header_stamp_ns(message.header) for _, message in received]


def test_new_stamps_are_of_now_and_as_far_apart_as_recorded(tmp_path, listener, domain_id):
    bag = write(tmp_path / "bag", recording(), StoragePlugin.SQLITE3)
    topics = {"/color": Image, "/depth": Image, "/info": CameraInfo, "/path": PathMessage, "/unstamped": Image}
    heard = {topic: listener.hear(kind, topic) for topic, kind in topics.items()}
    best_effort = listener.hear(Image, "/color", BEST_EFFORT)
    player = play(bag, domain_id, "--restamp")
    assert listener.until_ended(player) == "" and player.returncode == 0
    assert [int(m.data[0]) for _, m in heard["/color"]] == list(range(COUNT)), "each once, in order"
    assert all(len(received) == COUNT for received in heard.values())
    assert len(best_effort) == COUNT
    steps_ns = {topic: np.diff(stamps_ns(received)).tolist() for topic, received in heard.items()}
    assert steps_ns == {topic: [PERIOD_NS] * (COUNT - 1) for topic in topics}
    assert stamps_ns(heard["/color"]) == stamps_ns(heard["/depth"]), "depth is found by its image's stamp"
    assert stamps_ns(heard["/color"]) == stamps_ns(heard["/info"]) == stamps_ns(heard["/unstamped"])
    for received_ns, message in heard["/color"]:
        assert abs(received_ns - bags.header_stamp_ns(message.header)) < SECOND
    for _, message in heard["/path"]:
        first_ns = bags.header_stamp_ns(message.header)
        assert [bags.header_stamp_ns(p.header) - first_ns for p in message.poses] == [0, SECOND, 2 * SECOND]
        assert message.poses[2].pose.position.z == 3.0 and message.poses[2].header.frame_id == "map"


def test_without_restamp_every_byte_is_as_it_was_recorded(tmp_path, listener, domain_id):
    messages = recording()
    bag = write(tmp_path / "bag", messages)
    heard = []
    listener.node.create_subscription(Image, "/color", heard.append, VOLATILE, raw=True)
    player = play(bag, domain_id, "--rate", "4")
    assert listener.until_ended(player) == ""
    store = bags.typestore()
    recorded = [bytes(store.serialize_cdr(m, m.__msgtype__)) for topic, m, _ in messages if topic == "/color"]
    assert [data[: len(one)] for data, one in zip(heard, recorded, strict=True)] == recorded


def test_a_loop_repeats_all_messages_in_order(tmp_path, listener, domain_id):
    bag = write(tmp_path / "bag", recording())
    heard = listener.hear(Image, "/color")
    player = play(bag, domain_id, "--loop", "--restamp", "--rate", "5")
    listener.until_ended(player, lambda: len(heard) >= 3 * COUNT)
    assert [int(m.data[0]) for _, m in heard[: 3 * COUNT]] == [*range(COUNT)] * 3
    stamps = stamps_ns(heard[: 3 * COUNT])
    assert stamps == sorted(stamps), "a later round has later stamps"
    assert player.returncode == 143


def string(text):
    return bags.typestore().types["std_msgs/msg/String"](data=text)


def test_late_listeners_get_the_static_transforms_of_all_publishers_and_volatile_ones_what_comes(
    tmp_path, listener, domain_id
):
    """A recorder of two publishers, each with its own latched message; the texts stand for transforms."""
    static = [("/tf_static", string(f"publisher {n}"), LOG_NS + n) for n in range(2)]
    bag = write(tmp_path / "bag", [*static, ("/clock_text", string("end"), LOG_NS + 3 * SECOND)])
    volatile, early = listener.hear(String, "/tf_static"), listener.hear(String, "/tf_static", LATE)
    late, end = [], listener.hear(String, "/clock_text")

    def join_late():
        if early and not late:
            late.append(listener.hear(String, "/tf_static", LATE))
        return False

    player = play(bag, domain_id)
    assert listener.until_ended(player, join_late) == "" and player.returncode == 0
    for received in (volatile, early, late[0]):
        assert [m.data for _, m in received] == ["publisher 0", "publisher 1"]
    assert len(end) == 1


def test_types_that_are_not_installed_are_reported_and_the_others_are_played(tmp_path, listener, domain_id):
    bag = tmp_path / "bag"
    store, kind = bags.typestore(), "other_msgs/msg/Odd"
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        definition = "int32 x"
        odd = writer.add_connection("/odd\x1b[2J", kind, msgdef=definition, rihs01="RIHS01_" + "0" * 64)
        query = "reasonseg_ros/msg/Query"
        older = writer.add_connection("/query", query, msgdef="string text", rihs01="RIHS01_" + "1" * 64)
        writer.write(older, LOG_NS, b"\0\1\0\0\1\0\0\0\0")
        text = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        for number in range(3):
            writer.write(odd, LOG_NS + number, b"\0\1\0\0" + bytes(4))
            writer.write(text, LOG_NS + number, bytes(store.serialize_cdr(string(str(number)), "std_msgs/msg/String")))
    heard = listener.hear(String, "/text")
    player = play(bag, domain_id)
    reported = listener.until_ended(player)
    assert [m.data for _, m in heard] == ["0", "1", "2"]
    assert player.returncode == 1 and "\x1b" not in reported
    assert "/odd\\x1b[2J: 3 messages not published" in reported and "other_msgs/msg/Odd is not installed" in reported
    assert "/query: 1 messages not published" in reported and "another version, its text differs" in reported
    player = play(bag, domain_id, "--topics", "/text")
    assert player.communicate(timeout=90)[1] == "" and player.returncode == 0


def test_messages_of_another_version_among_others_of_their_topic_are_not_played(tmp_path, listener, domain_id):
    """As in a file that was merged from recordings of two machines: the installed type has no serial number."""
    messages = [(topic, message, log_ns) for topic, message, log_ns in recording() if topic == "/info"]
    path = write_versions(tmp_path / "a.mcap", messages, lambda number: WITH_SERIAL if number % 2 else {})
    heard = listener.hear(CameraInfo, "/info")
    player = play(path, domain_id, "--rate", "20")
    reported = listener.until_ended(player)
    assert player.returncode == 1
    assert (
        f"/info: {len(messages) // 2} messages not published: the installed sensor_msgs/msg/CameraInfo is" in reported
    )
    assert [m.k.tolist() for _, m in heard] == [messages[0][1].k.tolist()] * (len(messages) - len(messages) // 2)
    player = play(path, domain_id, "--topics", "/info")
    assert "another version, its serial differs" in player.communicate(timeout=90)[1] and player.returncode == 2


@pytest.mark.parametrize(("damage", "reported"), [("chunk", "the checksum of a chunk is wrong"), ("end", "breaks off")])
def test_the_rest_of_a_damaged_bag_is_played_and_the_damage_is_reported(
    tmp_path, listener, domain_id, damage, reported
):
    file, store = tmp_path / "a.mcap", bags.typestore()
    with file.open("wb") as stream:
        writer = McapWriter(stream, chunk_size=600, compression=CompressionType.NONE)
        writer.start(profile="ros2", library="test")
        channel = writer.register_channel("/color", "cdr", writer.register_schema("sensor_msgs/msg/Image", "", b""))
        for topic, message, log_ns in recording():
            if topic == "/color":
                data = bytes(store.serialize_cdr(message, message.__msgtype__))
                writer.add_message(channel, log_ns, data, log_ns)
        writer.finish()
    data = bytearray(file.read_bytes())
    place = data.index(bytes([9]) * 144) + 20  # within the pixels of the tenth image
    if damage == "chunk":
        data[place] ^= 1
    else:
        del data[place:]
    file.write_bytes(data)
    heard = listener.hear(Image, "/color")
    player = play(file, domain_id, "--rate", "5")
    errors = listener.until_ended(player)
    assert player.returncode == 1 and reported in errors
    assert 6 <= len(heard) < COUNT and [int(m.data[0]) for _, m in heard[:6]] == list(range(6))
    assert damage == "end" or f"/color: {len(heard)} of the {COUNT} messages" in errors

"""The image topic's quality of service, its publishers, and the images that are lost on the way."""

from itertools import count

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_client import image_of, value
from scripted_node import bright_frame
from sensor_msgs.msg import Image

from reasonseg_ros.config import CameraConfig
from reasonseg_ros.ros.diagnostics import CameraHealth

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
CAMERA = """
import time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "image", QoSProfile(depth=5, reliability=ReliabilityPolicy.QUALITY))
image = Image(encoding="rgb8", width=WIDTH, height=HEIGHT, step=3 * WIDTH)
image.data = bytes(3 * WIDTH * HEIGHT)
start_s, number = time.monotonic(), 0
while rclpy.ok():
    image.header.stamp.sec, image.header.stamp.nanosec = divmod(10**12 + number * 10**8, 10**9)
    publisher.publish(image)
    number += 1
    time.sleep(max(0.0, start_s + number / 10 - time.monotonic()))
"""


@pytest.fixture
def camera(client, start_process):
    """Start a camera of 10 Hz in a separate process, the only publisher of the image topic."""
    client.destroy_publisher(client.images)

    def start(width, height, quality):
        script = CAMERA.replace("WIDTH", str(width)).replace("HEIGHT", str(height)).replace("QUALITY", quality)
        return start_process("-c", script)

    return start


def subscribed(client):
    """The reliability of the node's one image subscription."""
    infos = client.get_subscriptions_info_by_topic("/image")
    return infos[0].qos_profile.reliability if len(infos) == 1 else None


def test_auto_follows_what_the_publishers_offer_as_they_come_and_go(start_node, client):
    start_node()
    client.until(lambda: subscribed(client) == RELIABLE)
    client.destroy_publisher(client.images)
    best_effort = client.create_publisher(Image, "image", QoSProfile(depth=5, reliability=BEST_EFFORT))
    client.until(lambda: subscribed(client) == BEST_EFFORT)
    client.until(best_effort.get_subscription_count)
    best_effort.publish(image_of(bright_frame(1)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    reliable = client.create_publisher(Image, "image", 5)
    client.until(lambda: reliable.get_subscription_count() and subscribed(client) == BEST_EFFORT)
    reliable.publish(image_of(bright_frame(2)))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    client.destroy_publisher(best_effort)
    client.until(lambda: subscribed(client) == RELIABLE)
    client.until(reliable.get_subscription_count)
    reliable.publish(image_of(bright_frame(3)))
    client.diagnostic("camera", lambda status: value(status, "received") == "3")
    assert client.ask("the bright one").header.stamp.nanosec == 3


def test_a_publisher_of_before_the_node_is_matched(start_node, client):
    client.destroy_publisher(client.images)
    early = client.create_publisher(Image, "image", QoSProfile(depth=5, reliability=BEST_EFFORT))
    start_node()
    client.until(early.get_subscription_count)
    early.publish(image_of(bright_frame(1)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")


@pytest.mark.parametrize("size_wh", [(640, 480), (1280, 720)])
def test_the_stock_middleware_delivers_the_images_of_a_reliable_camera(start_node, client, camera, size_wh):
    start_node()
    camera(*size_wh, "RELIABLE")
    client.diagnostic("camera", lambda status: int(value(status, "received")) >= 5, timeout_s=120)
    status = client.diagnostic("camera", lambda status: int(value(status, "received")) >= 35, timeout_s=120)
    assert int(value(status, "lost")) <= 5, status.message


def test_images_that_are_lost_are_a_warning_with_the_remedy(start_node, client, camera):
    """Best-effort images of this size do not fit the stock middleware's shared memory."""
    start_node(camera__silent_warn_s=600.0, camera__silent_error_s=600.0)
    camera(1920, 1080, "BEST_EFFORT")
    client.diagnostic("camera", lambda status: True)
    status = client.diagnostic("camera", lambda status: "lost" in status.message, timeout_s=120)
    assert status.level == DiagnosticStatus.WARN
    assert "fastdds_shm.xml" in status.message


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        (range(1, 40), False),
        (range(1, 200, 10), True),
        ([*range(1, 20), 22, *range(23, 40)], False),
        ([500, *range(501, 520)], False),  # the node came late
        ([*range(1, 20), *range(1, 20)], False),  # the camera was started anew
        ([None] * 20, False),
    ],
)
def test_gaps_in_the_publishers_numbers_are_lost_images(numbers, lost):
    health = CameraHealth()
    health.published_by(["camera"])
    for number in numbers:
        health.arrived(number)
    status = health.status(CameraConfig(), active=True)
    assert (status.level == DiagnosticStatus.WARN) == lost
    assert ("images are lost" in status.message) == lost


def test_numbers_of_several_publishers_are_no_gaps():
    health = CameraHealth()
    health.published_by(["left", "right"])
    for number in range(20):
        health.arrived(number)
        health.arrived(1000 + number)
    assert health.lost == 0


def test_several_publishers_on_the_image_topic_are_a_warning_while_they_are_there():
    health = CameraHealth()
    health.arrived(1)
    for publishers, level in (
        (["left"], DiagnosticStatus.OK),
        (["left", "right"], DiagnosticStatus.WARN),
        ([], DiagnosticStatus.OK),
    ):
        health.published_by(publishers)
        status = health.status(CameraConfig(), active=True)
        assert (status.level, "2 publishers send images" in status.message) == (level, level == DiagnosticStatus.WARN)
    health.published_by(["left", "right"])
    assert health.status(CameraConfig(), active=False).level == DiagnosticStatus.OK


@pytest.mark.parametrize(("times", "is_told"), [(1, False), (2, False), (3, True), (40, True)])
def test_a_stream_that_begins_again_all_the_time_is_a_warning_until_it_ends(times, is_told):
    health = CameraHealth()
    health.arrived(1)
    health.restarts = times
    status = health.status(CameraConfig(), active=True)
    assert (f"went back {times} times" in status.message) is is_told
    assert (status.level == DiagnosticStatus.WARN) is is_told
    assert health.status(CameraConfig(), active=True).level == DiagnosticStatus.OK


def test_two_cameras_of_different_clocks_on_one_topic_are_a_warning(start_node, client):
    other = client.create_publisher(Image, "image", 5)
    start_node(diagnostics_period_s=0.5)
    client.connect()
    client.until(other.get_subscription_count)

    numbers = count()

    def publish():
        number = next(numbers)
        publisher, start_s = ((client.images, 5), (other, 1000))[number % 2]
        publisher.publish(image_of(bright_frame(start_s * 10**9 + number)))

    def is_told(status):
        is_named = "2 publishers" in status.message and "stamps went back" in status.message
        return is_named and status.level == DiagnosticStatus.WARN

    client.create_timer(0.02, publish)
    client.diagnostic("camera", is_told)


def test_what_the_middleware_says_is_lost_counts_without_numbers():
    health = CameraHealth()
    health.lost_on_the_way(30)
    health.arrived(None)
    assert health.lost == 30
    assert health.status(CameraConfig(), active=True).level == DiagnosticStatus.WARN


SILENT = """
import time
import rclpy
from sensor_msgs.msg import CompressedImage, Image
rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(KIND, TOPIC, 5)
time.sleep(600)
"""


def silent_camera(start_process, kind, topic):
    """A publisher in a separate process: one process cannot have a topic with two types."""
    return start_process("-c", SILENT.replace("KIND", kind).replace("TOPIC", repr(topic)))


def test_without_images_the_topic_and_its_publishers_are_named(start_node, client, start_process):
    topic = "/camera/color/image_raw"
    start_node(["--ros-args", "-r", f"image:={topic}"], camera__silent_warn_s=0.1)
    client.until(lambda: client.queries.get_subscription_count() and client.got["diagnostics"])
    none = f"{topic} has no publisher; start the camera or remap image to its topic"
    client.diagnostic("camera", lambda status: none in status.message)
    assert none in client.ask("the bright one").error
    wrong = silent_camera(start_process, "CompressedImage", topic)
    reported = client.diagnostic("camera", lambda status: "CompressedImage by /camera" in status.message).message
    assert f"{topic} has 1 publisher: sensor_msgs/msg/CompressedImage by /camera" in reported
    assert "expected sensor_msgs/msg/Image" in reported
    assert "camera.transport to compressed" in reported
    answer = client.ask("the bright one")
    assert answer.status == "no_frame"
    assert "expected sensor_msgs/msg/Image" in answer.error
    silent_camera(start_process, "Image", topic)
    reported = client.diagnostic("camera", lambda status: "2 publishers" in status.message).message
    assert "sensor_msgs/msg/CompressedImage by /camera, sensor_msgs/msg/Image by " in reported
    assert "the node takes sensor_msgs/msg/Image only" in reported
    wrong.kill()


def test_a_raw_publisher_where_compressed_is_expected_is_reported(start_node, client, start_process):
    start_node(["--ros-args", "-r", "image:=front"], camera__transport="compressed", camera__silent_warn_s=0.1)
    silent_camera(start_process, "Image", "front")
    reported = client.diagnostic("camera", lambda status: "sensor_msgs/msg/Image by" in status.message).message
    assert "/front has 1 publisher" in reported
    assert "expected sensor_msgs/msg/CompressedImage" in reported
    assert "camera.transport to raw" in reported


def test_a_reliability_that_no_publisher_offers_is_reported(start_node, client):
    client.destroy_publisher(client.images)
    client.create_publisher(Image, "image", QoSProfile(depth=5, reliability=BEST_EFFORT))
    start_node(camera__reliability="reliable", camera__silent_warn_s=0.1)
    client.diagnostic("camera", lambda status: "best effort only, set camera.reliability to auto" in status.message)

"""`reasonseg doctor --topics` on a robot of real processes."""

import json

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from reasonseg_ros.ros.client.survey import is_linked, serialized_header

CAMERA = """
import sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
rclpy.init()
node = rclpy.create_node("driver")
best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
images = node.create_publisher(Image, "/camera/image", 5)
infos = node.create_publisher(CameraInfo, "/camera/info", best_effort)
image = Image(height=48, width=64, encoding="rgb8", step=192, data=bytes(48 * 192))
image.header.frame_id = "camera_link"
print("up", flush=True)
while True:
    stamp = node.get_clock().now()
    image.header.stamp = stamp.to_msg()
    images.publish(image)
    infos.publish(CameraInfo())
    time.sleep(0.05)
"""


def topics_of(process):
    out, error = process.communicate(timeout=120)
    report = json.loads(out or error)
    return [(row["level"], row["text"]) for row in report["findings"] if row["check"] == "topics"]


@pytest.fixture
def doctor(start_process):
    def ask(*arguments):
        return topics_of(start_process("-m", "reasonseg_ros.cli", "doctor", "--json", "--topics", *arguments))

    return ask


def test_publishers_quality_rates_and_stamps_are_found(start_process, doctor):
    assert start_process("-c", CAMERA).stdout.readline() == "up\n"
    names = ["--image-topic", "/camera/image", "--camera-info-topic", "/camera/info"]
    (image_level, image), (info_level, info), (_, depth), *rest = doctor(*names, "--listen", "3")
    assert "image: /camera/image [sensor_msgs/msg/Image] by /driver (reliable)" in image and "Hz, 0.01 MB" in image
    assert (image_level, info_level) == ("ok", "warning") and "its stamps are 0" in info
    assert "/driver (best effort)" in info
    assert "/depth has no publisher" in depth
    assert any("none runs" in text for _, text in rest)


def test_a_camera_that_is_not_there_is_a_fault_that_names_the_others(start_process, doctor):
    assert start_process("-c", CAMERA).stdout.readline() == "up\n"
    level, text = doctor("--listen", "3")[0]
    assert level == "fault" and "topics of sensor_msgs/msg/Image: /camera/image" in text


@pytest.mark.parametrize("message", [Image(), CompressedImage(format="jpeg", data=b"123")])
def test_header_of_serialized_messages(message):
    message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id = 12, 34, "camera_link"
    assert serialized_header(serialize_message(message)) == (12_000_000_034, "camera_link")


def test_frames_of_one_tree_are_linked():
    parents = {"camera": "head", "head": "base", "tool": "arm", "a": "b", "b": "a"}
    assert is_linked(parents, "camera", "base") and is_linked(parents, "base", "head")
    assert not is_linked(parents, "tool", "base") and not is_linked(parents, "a", "base")

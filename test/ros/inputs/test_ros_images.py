"""What the node makes of the images, depth and calibration that come, and of those that cannot be used."""

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_client import image_of, value
from sample_images import bad_images
from scripted_node import bright_frame
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from reasonseg_ros.ros.conversion import header_message, masks_from, pixels_message
from reasonseg_ros.types import Frame


def test_each_bad_image_is_dropped_and_counted_with_its_reason_and_the_node_lives(node, client):
    for reason, image in bad_images():
        client.images.publish(image)
        status = client.diagnostic("camera", lambda status, reason=reason: value(status, f"dropped: {reason}") == "1")
        assert reason in status.message or status.level == DiagnosticStatus.OK
    assert client.ask("the bright one").status == "ok"


def test_depth_that_is_all_nan_is_reported_and_counted(node, client):
    depth = image_of(bright_frame())
    depth.encoding, depth.step = "32FC1", 256
    depth.data = np.full((48, 64), np.nan, np.float32).tobytes()
    client.depths.publish(depth)
    client.diagnostic("depth", lambda status: value(status, "received") == "1")
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    assert "empty depth" in client.ask("the bright one").warning_3d
    client.diagnostic("depth", lambda status: value(status, "problem: empty depth") == "1")


def test_depth_and_intrinsics_of_the_same_stamp_come_with_the_frame(node, client):
    frame = bright_frame(stamp_ns=99)
    depth = image_of(frame)
    depth.encoding, depth.step, depth.data = "16UC1", 128, np.full((48, 64), 1500, np.uint16).tobytes()
    info = CameraInfo(width=64, height=48, k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0])
    client.until(client.infos.get_subscription_count)
    client.infos.publish(info)
    client.depths.publish(depth)
    client.spin(0.2)
    client.images.publish(image_of(frame))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    seen = []
    method = node._session.worker.method
    answer = method.reasoner.answer
    method.reasoner.answer = lambda frame, *args, **kwargs: seen.append(frame) or answer(frame, *args, **kwargs)
    client.ask("the bright one")
    assert seen[0].intrinsics.fx_px == 50.0
    assert seen[0].depth_m[0, 0] == np.float32(1.5)


def test_camera_silence_is_a_warning_then_an_error_and_passes(start_node, client):
    start_node(camera__silent_warn_s=0.4, camera__silent_error_s=1.0)
    client.connect()
    levels = []
    while not levels or levels[-1] != DiagnosticStatus.ERROR:
        levels.append(client.diagnostic("camera", lambda status: True).level)
    assert DiagnosticStatus.WARN in levels
    client.images.publish(image_of(bright_frame()))
    client.diagnostic("camera", lambda status: status.level == DiagnosticStatus.OK)


def test_the_camera_may_change_its_size_and_encoding(node, client):
    frame = bright_frame(stamp_ns=2)
    large = Frame(np.repeat(np.repeat(frame.rgb, 2, 0), 2, 1), stamp_ns=3)
    mono = pixels_message(header_message(bright_frame(stamp_ns=4)), np.ascontiguousarray(frame.rgb[:, :, 0]))
    for number, (image, size_wh) in enumerate([(image_of(large), (128, 96)), (mono, (64, 48))]):
        client.images.publish(image)
        client.diagnostic("camera", lambda status, number=number: value(status, "received") == str(number + 2))
        answer = client.ask("the bright one")
        assert (answer.status, answer.width, answer.height) == ("ok", *size_wh)
        assert answer.header == image.header
        assert masks_from(answer)[0].shape == size_wh[::-1]


def test_compressed_transport_and_truncated_jpeg(start_node, client):
    remap = ["--ros-args", "-r", "image:=camera/compressed"]
    start_node(remap, camera__transport="compressed", query__frame_wait_s=2.0)
    images = client.create_publisher(CompressedImage, "camera/compressed", 5)
    client.until(images.get_subscription_count)
    data = cv2.imencode(".jpg", bright_frame().rgb[:, :, ::-1])[1].tobytes()
    images.publish(CompressedImage(format="jpeg", data=data[:-40]))
    client.diagnostic("camera", lambda status: value(status, "dropped: truncated image") == "1")
    images.publish(CompressedImage(format="jpeg", data=data + bytes(500)))
    assert client.ask("the bright one").status == "ok"


def test_a_huge_compressed_image_is_dropped_before_it_is_decoded(start_node, client):
    remap = ["--ros-args", "-r", "image:=camera/compressed"]
    start_node(remap, camera__transport="compressed", query__frame_wait_s=2.0)
    images = client.create_publisher(CompressedImage, "camera/compressed", 5)
    client.until(images.get_subscription_count)
    data = cv2.imencode(".png", bright_frame().rgb[:, :, ::-1])[1].tobytes()
    huge = data[:16] + (30_000).to_bytes(4, "big") * 2 + data[24:]
    images.publish(CompressedImage(format="png", data=huge))
    reported = client.diagnostic("camera", lambda status: value(status, "dropped: too large") == "1")
    assert "30000 x 30000 pixels; at most 100 megapixels" in reported.message
    images.publish(CompressedImage(format="16UC1; png compressed ", data=data))
    client.diagnostic("camera", lambda status: value(status, "dropped: depth encoding") == "1")
    assert client.set(camera__max_megapixels=0.01) == [""]
    images.publish(stamped(CompressedImage(format="png", data=data), 5))
    assert client.ask("the bright one").status == "ok"


def test_an_image_of_twelve_bits_in_sixteen_is_reported_as_nearly_black(node, client):
    grey = np.zeros((48, 64), np.uint16)
    grey[10:20, 30:50] = 4095
    picture = Image(encoding="mono16", height=48, width=64, step=128, data=grey.tobytes())
    client.images.publish(stamped(picture, 13))
    client.diagnostic("camera", lambda status: value(status, "received") == "2")
    client.ask("the bright one")
    reported = client.diagnostic("camera", lambda status: value(status, "nearly black 16-bit images") == "1")
    assert "shift the values up, or publish mono8" in reported.message or reported.level == DiagnosticStatus.OK


def stamped(message, sec):
    message.header.stamp.sec = sec
    return message


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
def test_quality_of_service_follows_the_parameters(start_node, client, reliability):
    start_node(camera__reliability=reliability, output__reliability=reliability)
    client.until(lambda: client.get_subscriptions_info_by_topic("/image"))
    (camera,) = client.get_subscriptions_info_by_topic("/image")
    (output,) = client.until(lambda: client.get_publishers_info_by_topic("/reasonseg/segmentation"))
    assert camera.qos_profile.reliability.name == output.qos_profile.reliability.name == reliability.upper()

"""Depth, camera_info and transforms through the real node: results in space, and what becomes of depth that is bad."""

import sys
import types

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from ros_client import image_of, value
from scripted_node import bright_frame
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from reasonseg_ros.ros.publishing.cloud import POINT

MS = 1_000_000


def info_message(width=64, height=48):
    return CameraInfo(width=width, height=height, k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0])


def depth_image(stamp_ns, millimetres=None) -> Image:
    """16UC1; the bright part is 1 m away, what is behind it 1.2 m."""
    if millimetres is None:
        millimetres = np.where(bright_frame().rgb[:, :, 0] > 0, 1000, 1200)
    message = image_of(bright_frame(stamp_ns))
    message.height, message.width = millimetres.shape
    message.encoding, message.step = "16UC1", 2 * message.width
    message.data = millimetres.astype(np.uint16).tobytes()
    return message


@pytest.fixture
def see(client):
    """Sends camera_info, depth and an image, which the node then has; ends with the wait for its depth over."""
    client.listen("points", PointCloud2, "reasonseg/points")
    client.listen("markers", MarkerArray, "reasonseg/markers")
    seen = {"images": 0, "depths": 0}

    def send(stamp_ms, depth=None, info=None):
        if info is not None:
            client.infos.publish(info)
        if depth is not None:
            seen["depths"] += 1
            client.depths.publish(depth)
            client.diagnostic("depth", lambda status: value(status, "received") == str(seen["depths"]))
        seen["images"] += 1
        client.images.publish(image_of(bright_frame(stamp_ms * MS)))

        def is_through(status):
            ways = ("images with depth", "images without depth")
            return sum(int(value(status, way)) for way in ways) == seen["images"]

        return client.diagnostic("depth", is_through)

    return send


@pytest.fixture
def started(start_node, client):
    def start(**values):
        node = start_node(**values)
        client.connect()
        client.until(client.infos.get_subscription_count)
        return node

    return start


def test_depth_gives_boxes_a_cloud_and_markers(started, client, see):
    started()
    see(50, depth_image(48 * MS), info_message())  # about the same stamp
    answer = client.ask("the bright one")
    (region,) = answer.regions
    assert (answer.frame_3d, answer.warning_3d, region.error_3d) == ("camera", "", "")
    assert region.has_3d and region.valid_depth_share == 1.0
    # Pixels 30 to 49 and 10 to 19, seen by a lens of 50 px with its middle at 32, 24, from 1 m; edges trimmed.
    assert region.centroid.z == pytest.approx(1.0, abs=1e-3)
    assert region.centroid.x == pytest.approx((39.5 - 32) / 50, abs=0.01)
    assert region.centroid.y == pytest.approx((14.5 - 24) / 50, abs=0.01)
    assert region.box_3d.pose.position.x == pytest.approx((39.5 - 32) / 50, abs=0.01)
    assert sorted((region.box_3d.size.x, region.box_3d.size.y)) == pytest.approx([0.18, 0.38], abs=0.03)

    cloud = client.until(lambda: client.got["points"])[0]
    assert cloud.header == answer.header
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "instance"]
    points = np.frombuffer(cloud.data, POINT)
    assert len(points) == cloud.width == region.point_count > 150
    assert set(points["instance"]) == {1} and set(points["rgb"]) == {200 << 16 | 200 << 8 | 200}
    np.testing.assert_allclose(points["z"], 1.0, atol=1e-3)

    markers = client.until(lambda: client.got["markers"])[0].markers
    assert markers[0].action == Marker.DELETEALL
    title, cube, name = markers[1:]
    assert "the bright one" in title.text and title.type == name.type == Marker.TEXT_VIEW_FACING
    assert (cube.type, cube.pose, cube.scale) == (Marker.CUBE, region.box_3d.pose, region.box_3d.size)
    assert name.text == "1 0.90"


@pytest.mark.parametrize(
    ("text", "lead", "problem"),
    [
        ("16UC1; compressedDepth png", bytes(12), ""),
        ("16UC1; png compressed ", b"", ""),
        ("16UC1; jpeg compressed ", b"", "unknown depth encoding"),
    ],
)
def test_compressed_depth_gives_boxes_or_its_reason(started, client, see, text, lead, problem):
    client.destroy_publisher(client.depths)
    client.depths = client.create_publisher(CompressedImage, "depth", 5)
    started(camera__depth_transport="compressed")
    raw = depth_image(48 * MS)
    millimetres = np.frombuffer(raw.data, np.uint16).reshape(48, 64)
    suffix, pixels = (".jpg", (millimetres // 8).astype(np.uint8)) if "jpeg" in text else (".png", millimetres)
    data = lead + cv2.imencode(suffix, pixels)[1].tobytes()
    see(50, CompressedImage(header=raw.header, format=text, data=data), info_message())
    (region,) = client.ask("the bright one").regions
    assert region.has_3d is not bool(problem)
    if problem:
        client.diagnostic("depth", lambda status: value(status, f"problem: {problem}") is not None)
    else:
        assert region.centroid.z == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("transition", ["deactivate", "shutdown"])
def test_markers_are_deleted_when_the_node_is_deactivated_or_shut_down(started, client, see, transition):
    started()
    see(50, depth_image(48 * MS), info_message())
    assert client.ask("the bright one").regions[0].has_3d
    client.until(lambda: client.got["markers"])
    assert client.transition(transition)
    client.until(lambda: len(client.got["markers"]) == 2)
    assert [marker.action for marker in client.got["markers"][1].markers] == [Marker.DELETEALL]


def test_nothing_fits_empties_the_cloud_and_a_failure_leaves_it(started, client, see):
    started()
    see(50, depth_image(50 * MS), info_message())
    assert client.ask("boom").status == "failed"
    assert client.ask("the unicorn").status == "no_target"
    (cloud,) = client.until(lambda: client.got["points"])
    assert cloud.width == 0 and len(cloud.fields) == 5
    client.until(lambda: len(client.got["markers"]) == 2)
    texts = [array.markers[1].text for array in client.got["markers"]]
    assert "[failed]" in texts[0] and "[no_target]" in texts[1]


@pytest.mark.parametrize(
    ("depth", "info", "problem", "words"),
    [
        (depth_image(50 * MS, np.full((24, 32), 900)), info_message(), "depth of another size", "32 x 24"),
        (depth_image(50 * MS, np.zeros((48, 64))), info_message(), "empty depth", "3072 pixels"),
        (depth_image(950 * MS), info_message(), "no depth of that stamp", "20 ms"),
        (image_of(bright_frame(50 * MS)), info_message(), "unknown depth encoding", "rgb8"),
        (depth_image(50 * MS), None, "no camera_info", "64 x 48"),
        (depth_image(50 * MS), info_message(32, 24), "no camera_info", "64 x 48"),
    ],
)
def test_with_bad_depth_the_answer_in_the_image_goes_out_and_says_why(
    started, client, see, depth, info, problem, words
):
    started()
    see(50, depth, info)
    answer = client.ask("the bright one")
    assert (answer.status, len(answer.regions), answer.frame_3d) == ("ok", 1, "")
    assert not answer.regions[0].has_3d
    assert words in answer.warning_3d or problem == "unknown depth encoding"
    status = client.diagnostic("depth", lambda status: value(status, f"problem: {problem}") is not None)
    assert status.level == DiagnosticStatus.OK or words in status.message
    assert not client.got["points"]
    # The next one is good again.
    see(1050, depth_image(1050 * MS), info_message())
    assert client.ask("the bright one").regions[0].has_3d


def test_depth_of_a_small_part_of_the_mask_gives_no_box(started, client, see):
    started(points__min_valid_share=0.5)
    known = np.where(np.arange(64) % 4, 0, 1000) * np.ones((48, 1))
    see(50, depth_image(50 * MS, known), info_message())
    (region,) = client.ask("the bright one").regions
    assert not region.has_3d and region.point_count == 0
    assert region.valid_depth_share == pytest.approx(0.25)
    assert "25%" in region.error_3d and "50%" in region.error_3d


def test_depth_that_stops_is_a_warning_and_images_go_on(started, client, see):
    started(camera__silent_warn_s=0.4, camera__depth_wait_s=0.05)
    see(50, depth_image(50 * MS), info_message())
    client.diagnostic("depth", lambda status: "no depth image for" in status.message)
    for stamp_ms in (2000, 2033, 2066):
        see(stamp_ms)
    answer = client.ask("the bright one")
    assert (answer.status, answer.header.stamp.nanosec) == ("ok", 66 * MS)
    assert "no depth image within 20 ms" in answer.warning_3d


def test_without_a_depth_publisher_there_is_no_warning(started, client):
    client.destroy_publisher(client.depths)
    client.depths = client.images
    started()
    client.images.publish(image_of(bright_frame(50 * MS)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    answer = client.ask("the bright one")
    assert (answer.status, answer.frame_3d, answer.warning_3d) == ("ok", "", "")
    status = client.diagnostic("depth", lambda status: True)
    assert (status.level, status.message) == (DiagnosticStatus.OK, "nobody publishes depth; answers stay in the image")


class TransformError(Exception):
    """tf2_ros.TransformException."""


@pytest.fixture
def tf(monkeypatch):
    """tf2_ros as the node uses it; `transforms` holds what is known, by target and source."""
    transforms = {}

    class Buffer:
        def clear(self):
            transforms.clear()

        def lookup_transform(self, target, source, time):
            assert time.nanoseconds > 0
            if (target, source) not in transforms:
                raise TransformError(f"{target} does not exist")
            return transforms[target, source]

    class TransformListener:
        def __init__(self, buffer, node):
            self.is_listening = True

        def unregister(self):
            self.is_listening = False

    module = types.ModuleType("tf2_ros")
    module.Buffer, module.TransformListener, module.TransformException = Buffer, TransformListener, TransformError
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    return transforms


def turned(x=1.0):
    """The camera looks along the base's x axis."""
    stamped = TransformStamped()
    stamped.transform.translation.x = x
    quat = stamped.transform.rotation
    quat.x, quat.y, quat.z, quat.w = -0.5, 0.5, -0.5, 0.5
    return stamped


def test_results_are_in_the_target_frame_by_the_transform_of_the_images_arrival(started, client, see, tf):
    tf["base", "camera"] = turned()
    started(points__target_frame="base")
    see(50, depth_image(50 * MS), info_message())
    tf["base", "camera"] = turned(99.0)  # forgotten or changed by the time of the question
    answer = client.ask("the bright one")
    assert (answer.frame_3d, answer.header.frame_id, answer.warning_3d) == ("base", "camera", "")
    centroid = answer.regions[0].centroid
    assert (centroid.x, centroid.z) == pytest.approx((2.0, (24 - 14.5) / 50), abs=0.01)
    assert client.until(lambda: client.got["points"])[0].header.frame_id == "base"
    cube = client.until(lambda: client.got["markers"])[0].markers[2]
    assert cube.header.frame_id == "base"


def test_an_image_without_a_stamp_gets_no_transform_of_another_time(started, client, see, tf):
    tf["base", "camera"] = turned()
    started(points__target_frame="base", points__transform_wait_s=0.02)
    see(0, depth_image(0), info_message())
    answer = client.ask("the bright one")
    assert answer.frame_3d == "camera" and "for an image of stamp 0; have its driver" in answer.warning_3d


@pytest.mark.parametrize(("stamp_ms", "is_told"), [(0, True), (1, False)])
def test_positions_of_unstamped_images_say_that_depth_may_be_of_another_time(started, client, see, stamp_ms, is_told):
    started()
    see(stamp_ms, depth_image(stamp_ms * MS), info_message())
    answer = client.ask("the bright one")
    assert answer.regions[0].has_3d and ("have no stamp (0)" in answer.warning_3d) is is_told


def test_a_transform_that_is_no_pose_is_none(started, client, see, tf):
    tf["base", "camera"] = TransformStamped()
    tf["base", "camera"].transform.rotation.w = 0.0
    started(points__target_frame="base", points__transform_wait_s=0.02)
    see(50, depth_image(50 * MS), info_message())
    answer = client.ask("the bright one")
    assert answer.frame_3d == "camera" and "is not finite" in answer.warning_3d


@pytest.mark.parametrize("has_tf2", [True, False])
def test_without_the_transform_results_are_in_the_cameras_frame_and_say_so(
    started, client, see, tf, monkeypatch, has_tf2
):
    if not has_tf2:
        monkeypatch.setitem(sys.modules, "tf2_ros", None)
    started(points__target_frame="base", points__transform_wait_s=0.02)
    see(50, depth_image(50 * MS), info_message())
    answer = client.ask("the bright one")
    assert answer.frame_3d == "camera" and answer.regions[0].has_3d
    assert ("base does not exist" if has_tf2 else "tf2_ros") in answer.warning_3d
    status = client.diagnostic("depth", lambda status: value(status, "problem: no transform") is not None)
    assert status.level == DiagnosticStatus.OK or answer.warning_3d in status.message


def test_transforms_of_the_round_before_are_forgotten_when_stamps_go_back(started, client, see, tf):
    """tf2 would refuse those of the new round as older than its 10 s, and could answer with the old ones."""
    tf["base", "camera"] = turned()
    started(points__target_frame="base", points__transform_wait_s=0.02)
    see(60_000, depth_image(60_000 * MS), info_message())
    assert client.ask("the bright one").frame_3d == "base"
    see(59_500, depth_image(59_500 * MS))  # a little out of order
    assert tf
    see(1000, depth_image(1000 * MS))
    assert not tf
    assert client.ask("the bright one").frame_3d == "camera"
    tf["base", "camera"] = turned()
    see(1100, depth_image(1100 * MS))
    assert client.ask("the bright one").frame_3d == "base"

"""camera_info of every kind through the real node: the place of the bright part, or no 3D and why."""

import cv2
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from reasonseg_ros.msg import Query
from ros_client import image_of, value
from rosgraph_msgs.msg import Clock
from scripted_node import bright_frame
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest

from reasonseg_ros.ros.inputs import camera_infos
from reasonseg_ros.ros.publishing.cloud import POINT

S = 1_000_000_000
MIDDLE_XY = (39.5, 14.5)
"""Of the bright part: pixels 30 to 49 and 10 to 19 of 64 x 48."""
K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])
DEPTH_M = 0.8
BARREL = [-0.30, 0.10, 0.01, -0.01, 0.0]
RATIONAL = [0.9, -0.4, 0.01, -0.01, 0.05, 0.2, 0.1, 0.01]


def stamped(message, stamp_ns, frame_id="camera"):
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, S)
    message.header.frame_id = frame_id
    return message


def info(stamp_ns, size_wh=(64, 48), k=K, d=(), model="plumb_bob", frame_id="camera", **fields):
    message = CameraInfo(width=size_wh[0], height=size_wh[1], distortion_model=model, d=list(d), k=np.array(k).ravel())
    message.r, message.p = np.eye(3).ravel(), np.column_stack([k, np.zeros(3)]).ravel()
    for name, field in fields.items():
        setattr(message, name, field)
    return stamped(message, stamp_ns, frame_id)


def depth_image(stamp_ns, frame_id="camera"):
    bright = bright_frame().rgb[:, :, 0] > 0
    message = Image(encoding="32FC1", height=48, width=64, step=256)
    message.data = np.where(bright, DEPTH_M, DEPTH_M + 0.2).astype(np.float32).tobytes()
    return stamped(message, stamp_ns, frame_id)


def at_m(lens_k=K, pixel_xy=MIDDLE_XY):
    """Where a pinhole sees a pixel."""
    return [
        (pixel_xy[0] - lens_k[0, 2]) / lens_k[0, 0] * DEPTH_M,
        (pixel_xy[1] - lens_k[1, 2]) / lens_k[1, 1] * DEPTH_M,
    ]


@pytest.fixture
def show(client):
    """Sends calibration, depth and an image of one stamp, as a camera does."""
    client.listen("points", PointCloud2, "reasonseg/points")

    def send(stamp_s, message=None, depth_frame_id="camera"):
        before = sum(_images(client))
        if message is not None:
            client.infos.publish(message)
        client.depths.publish(depth_image(stamp_s * S, depth_frame_id))
        client.images.publish(image_of(bright_frame(stamp_s * S)))
        client.diagnostic("depth", lambda status: _count(status) > before)
        return client

    def _images(client):
        return [_count(client.diagnostic("depth", lambda status: True))]

    def _count(status):
        return sum(int(value(status, way)) for way in ("images with depth", "images without depth"))

    return send


@pytest.fixture
def started(start_node, client):
    def start(image="image", depth="depth", **values):
        arguments = ["--ros-args", "-r", f"image:={image}", "-r", f"depth:={depth}"]
        for name, topic in (("images", image), ("depths", depth)):
            client.destroy_publisher(getattr(client, name))
            setattr(client, name, client.create_publisher(Image, topic, 5))
        node = start_node(arguments, **values)
        client.connect()
        client.until(client.infos.get_subscription_count)
        return node

    return start


def opencv_m(d, fisheye=False):
    """Of the bright part's pixels, the middle of their points by OpenCV."""
    columns, rows = np.meshgrid(np.arange(31, 49.0), np.arange(11, 19.0))
    pixels = np.stack([columns.ravel(), rows.ravel()], 1)[:, None]
    undistort = cv2.fisheye.undistortPoints if fisheye else cv2.undistortPoints
    return undistort(pixels, K, np.array(d))[:, 0].mean(0) * DEPTH_M


WIDE = np.array([[120.0, 0, 63.5], [0, 120.0, 47.5], [0, 0, 1]])
LARGE = np.array([[600.0, 0, 320.0], [0, 600.0, 240.0], [0, 0, 1]])
REGION = RegionOfInterest(x_offset=100, y_offset=50, width=64, height=48)
SHIFTED = np.array([[600.0, 0, 220.0], [0, 600.0, 190.0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("fields", "expected_m", "is_said"),
    [
        ({}, at_m(), False),
        ({"d": BARREL}, opencv_m(BARREL), True),
        ({"d": RATIONAL, "model": "rational_polynomial"}, opencv_m(RATIONAL), True),
        ({"d": [0.1, 0.0, 0.0, 0.0], "model": "equidistant"}, opencv_m([0.1, 0.0, 0.0, 0.0], fisheye=True), True),
        ({"size_wh": (128, 96), "k": WIDE, "binning_x": 2, "binning_y": 2}, at_m(), False),
        (
            {"size_wh": (640, 480), "k": LARGE, "roi": REGION},
            at_m(SHIFTED),
            False,
        ),
    ],
    ids=["pinhole", "plumb_bob", "rational_polynomial", "equidistant", "binning", "region"],
)  # fmt: skip
def test_the_place_of_a_target_follows_camera_info(started, client, show, fields, expected_m, is_said):
    started()
    show(1, info(1 * S, **fields))
    answer = client.ask("the bright one")
    (region,) = answer.regions
    assert region.has_3d, answer.warning_3d
    np.testing.assert_allclose([region.centroid.x, region.centroid.y], expected_m, atol=1e-3)
    assert ("/image is read as a raw image" in answer.warning_3d) == is_said == bool(answer.warning_3d)
    cloud = np.frombuffer(client.until(lambda: client.got["points"])[0].data, POINT)
    np.testing.assert_allclose([cloud["x"].mean(), cloud["y"].mean()], expected_m, atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "problem", "words"),
    [
        ({"size_wh": (128, 96)}, "no camera_info", "128 x 96"),
        ({"frame_id": "other_optical"}, "no camera_info", "'other_optical'"),
        ({"model": "fov", "d": [0.9]}, "unusable camera_info", "'fov'"),
        ({"k": np.zeros((3, 3))}, "unusable camera_info", "not calibrated"),
        ({"roi": REGION}, "unusable camera_info", "inside"),
    ],
)
def test_camera_info_that_does_not_fit_gives_no_3d_and_the_reason(started, client, show, fields, problem, words):
    started()
    show(1, info(1 * S))  # a good one before does not stand in for it
    show(2, info(2 * S, **fields))
    answer = client.ask("the bright one")
    assert (answer.status, answer.frame_3d, answer.regions[0].has_3d) == ("ok", "", False)
    assert problem in answer.warning_3d and words in answer.warning_3d
    client.diagnostic("depth", lambda status: value(status, f"problem: {problem}") is not None)


def rectified(stamp_ns):
    """A camera whose raw and rectified images differ much."""
    k = np.array([[60.0, 0, 29.5], [0, 60.0, 23.5], [0, 0, 1]])
    p = np.array([50.0, 0, 33, 0, 0, 50, 22, 0, 0, 0, 1, 0])
    return info(stamp_ns, k=k, d=BARREL, p=p)


BY_P = at_m(np.array([[50.0, 0, 33.0], [0, 50.0, 22.0], [0, 0, 1]]))


@pytest.mark.parametrize(
    ("topic", "values", "words"),
    [
        ("camera/image_rect", {}, "/camera/image_rect is read as a rectified image (P of camera_info), by its name"),
        ("camera/image_raw", {"camera__rectification": "rectified", "camera__depth_rectification": "rectified"}, ""),
    ],
)
def test_a_rectified_image_goes_by_p(started, client, show, topic, values, words):
    started(image=topic, depth="camera/depth_registered/image_rect", **values)
    show(1, rectified(1 * S))
    answer = client.ask("the bright one")
    centroid = answer.regions[0].centroid
    np.testing.assert_allclose([centroid.x, centroid.y], BY_P, atol=1e-3)
    assert answer.warning_3d.startswith(words) and bool(answer.warning_3d) == bool(words)
    if words:
        client.diagnostic("depth", lambda status: words in (value(status, "calibration") or ""))


def test_depth_of_the_raw_image_is_carried_to_the_rectified_one(started, client, show):
    started(image="camera/image_rect", depth="camera/depth_registered/image_raw")
    message = rectified(1 * S)
    show(1, message)
    answer = client.ask("the bright one")
    assert "/camera/depth_registered/image_raw is raw depth, warped to the rectified image" in answer.warning_3d
    # The near part of the depth image, moved to where P sees it, covers a part of the mask.
    corners = np.array([[30.0, 10.0], [49.0, 19.0]])[:, None]
    p = np.array(message.p).reshape(3, 4)
    moved = cv2.undistortPoints(corners, np.array(message.k).reshape(3, 3), np.array(message.d), P=p)[:, 0]
    low, high = np.maximum(moved[0], (30, 10)), np.minimum(moved[1], (49, 19))
    cloud = np.frombuffer(client.until(lambda: client.got["points"])[0].data, POINT)
    near = cloud[np.abs(cloud["z"] - DEPTH_M) < 0.01]
    seen = np.stack([near["x"], near["y"]], 1) / DEPTH_M * p[[0, 1], [0, 1]] + p[:2, 2]
    assert len(near) > 40
    assert (seen > low - 1.0).all() and (seen < high + 1.0).all()


def test_depth_of_another_frame_gives_no_3d_unless_it_is_said_to_fit(started, client, show):
    started()
    show(1, info(1 * S), depth_frame_id="depth_optical")
    answer = client.ask("the bright one")
    assert not answer.regions[0].has_3d
    assert "depth of another frame: 'depth_optical'" in answer.warning_3d
    assert client.set(camera__depth_any_frame=True) == [""]
    show(2, info(2 * S), depth_frame_id="depth_optical")
    answer = client.ask("the bright one")
    assert answer.regions[0].has_3d and "camera.depth_any_frame" in answer.warning_3d


def test_an_image_without_a_frame_id_has_no_place(started, client):
    started()
    client.infos.publish(info(S, frame_id=""))
    client.depths.publish(depth_image(S, ""))
    client.images.publish(stamped(image_of(bright_frame()), S, ""))
    client.diagnostic("depth", lambda status: value(status, "images with depth") == "1")
    answer = client.ask("the bright one")
    assert not answer.regions[0].has_3d and "no frame_id" in answer.warning_3d


def test_a_question_that_waited_for_the_first_image_waits_for_its_camera_info_too(started, client):
    """Cameras send an image, then its camera_info."""
    started(query__frame_wait_s=60.0, camera__depth_wait_s=2.0)
    client.depths.publish(depth_image(S))
    client.diagnostic("depth", lambda status: value(status, "received") == "1")
    client.queries.publish(Query(text="the bright one"))
    client.spin(0.3)
    client.images.publish(image_of(bright_frame(S)))
    client.spin(0.15)
    client.infos.publish(info(S))
    answer = client.until(lambda: client.got["segmentation"])[0]
    assert answer.regions[0].has_3d, answer.warning_3d


@pytest.fixture
def latch(client):
    """Publishes camera_info once, kept for whoever subscribes later."""
    client.destroy_publisher(client.infos)
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    client.infos = client.create_publisher(CameraInfo, "camera_info", qos)
    return client.infos.publish


def test_latched_camera_info_from_before_the_node_serves_the_first_question_and_does_not_age(
    started, client, show, latch
):
    latch(info(1 * S))
    started()
    show(5000)
    assert client.ask("the bright one").regions[0].has_3d
    show(9000)
    assert client.ask("the bright one").regions[0].has_3d
    show(100)  # the stream begins again
    assert client.ask("the bright one").regions[0].has_3d


def test_camera_info_that_is_not_latched_ages(started, client, show):
    started()
    show(1, info(1 * S))
    assert client.ask("the bright one").regions[0].has_3d
    show(5)
    answer = client.ask("the bright one")
    assert not answer.regions[0].has_3d
    assert "no camera_info: the nearest is 4 s from the image" in answer.warning_3d
    assert client.set(camera__info_max_age_s=0.0) == [""]
    show(6)
    assert client.ask("the bright one").regions[0].has_3d


@pytest.mark.parametrize("kept", [3, 300])
def test_an_old_image_goes_by_the_camera_info_of_its_time(started, client, show, monkeypatch, kept):
    """The lens zooms; the question is about an image from before, when many newer messages have come."""
    monkeypatch.setattr(camera_infos, "KEPT_INFOS", kept)
    started(query__image_max_age_s=0.0)
    client.infos.publish(info(1 * S))
    client.spin(0.3)
    show(1)
    for number in range(6):
        client.infos.publish(info((2 + number) * S, k=np.diag([2.0, 2.0, 1.0]) @ K))
        client.spin(0.05)
    centroid = client.ask("the bright one").regions[0].centroid
    np.testing.assert_allclose([centroid.x, centroid.y], at_m(), atol=1e-3)


def test_a_looping_stream_goes_by_the_camera_info_of_the_new_round(started, client, show):
    started(camera__info_max_age_s=0.0)
    for second in (10, 100, 101):
        show(second, info(second * S, k=K))
    show(10)  # back to the beginning, before its camera_info: the old ones do not stand in for it
    answer = client.ask("the bright one")
    assert not answer.regions[0].has_3d and "no camera_info: none came" in answer.warning_3d
    shorter = np.array([[30.0, 0, 31.5], [0, 30.0, 23.5], [0, 0, 1]])
    show(11, info(11 * S, k=shorter))
    centroid = client.ask("the bright one").regions[0].centroid
    np.testing.assert_allclose([centroid.x, centroid.y], at_m(shorter), atol=1e-3)


def test_the_camera_info_of_a_new_round_may_come_after_its_image(started, client, show, monkeypatch):
    monkeypatch.setattr(camera_infos, "FIRST_WAIT_S", 60.0)
    started()
    show(10, info(10 * S))
    show(1)
    client.queries.publish(Query(text="the bright one"))
    client.spin(0.3)
    assert not client.got["segmentation"]
    client.infos.publish(info(1 * S))
    (answer,) = client.until(lambda: client.got["segmentation"])
    assert answer.header.stamp.sec == 1 and answer.regions[0].has_3d, answer.warning_3d


def test_simulated_time_that_goes_back_forgets_images_depth_and_camera_info(started, client, show):
    clock = client.create_publisher(Clock, "/clock", 10)
    node = started(use_sim_time=True)
    client.until(clock.get_subscription_count)

    def set_clock(stamp_ns):
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(stamp_ns, S)
        clock.publish(message)
        client.until(lambda: node.get_clock().now().nanoseconds == stamp_ns)

    set_clock(2 * S)
    show(2, info(2 * S))
    assert client.ask("the bright one").regions[0].has_3d
    set_clock(S + S // 2)  # less than stamps may go back by themselves
    assert client.ask("the bright one").status == "no_frame"
    client.images.publish(image_of(bright_frame(2 * S)))
    client.spin(0.3)
    answer = client.ask("the bright one")
    assert answer.status == "ok" and not answer.regions[0].has_3d  # the depth of that stamp was of the world before

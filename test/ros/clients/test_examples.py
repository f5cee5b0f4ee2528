"""The examples as consumers of the real node."""

from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from ros_client import image_of, value
from scripted_node import bright_frame
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from reasonseg_ros import msg
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import rotation_matrix
from reasonseg_ros.images.mask_codec import encode_mask
from reasonseg_ros.space.points import surface_of
from reasonseg_ros.spatial import Intrinsics
from reasonseg_ros.types import Frame
from test.examples.loading import EXAMPLES, example

MS = 1_000_000
grasping, semantic = example("07_grasp"), example("08_nav2_semantic_layer")


def depth_image(stamp_ns, target_mm):
    """The bright part, 20 x 10 pixels, stands out by 20 mm."""
    bright = bright_frame().rgb[:, :, 0] > 0
    message = image_of(bright_frame(stamp_ns))
    message.encoding, message.step = "16UC1", 128
    message.data = np.where(bright, target_mm, target_mm + 20).astype(np.uint16).tobytes()
    return message


@pytest.fixture
def show(start_node, client):
    """Starts the node, and shows it an image with depth."""
    start_node(query__watch_period_s=0.3)
    client.connect()
    client.until(client.infos.get_subscription_count)

    def shown(target_mm):
        client.infos.publish(CameraInfo(width=64, height=48, k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]))
        client.depths.publish(depth_image(50 * MS, target_mm))
        client.diagnostic("depth", lambda status: value(status, "received") == "1")
        client.images.publish(image_of(bright_frame(50 * MS)))
        client.diagnostic("depth", lambda status: value(status, "images with depth") == "1")

    return shown


@pytest.fixture
def grasp(context, client):
    """Asks by the example's own node, which spins beside the client."""
    node = grasping.GraspConsumer(context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def asked(question):
        task = executor.create_task(node.grasp, question)
        client.until(lambda: executor.spin_once(timeout_sec=0.02) or task.done())
        return task.result()

    yield asked
    executor.shutdown()
    node.destroy_node()


def test_a_grasp_closes_on_the_narrow_side_from_above_the_support(show, client, grasp):
    client.listen("grasp", PoseStamped, "grasp")
    show(target_mm=250)  # 20 x 10 pixels are 0.1 x 0.05 m there
    proposed = grasp("the handle of the bright one")
    assert proposed.header.frame_id == "camera" and proposed.header.stamp.nanosec == 50 * MS
    place, quat = proposed.pose.position, proposed.pose.orientation
    axes = rotation_matrix([quat.x, quat.y, quat.z, quat.w])
    np.testing.assert_allclose(axes[:, 2], [0, 0, 1], atol=0.02)  # away from the camera, into the support
    np.testing.assert_allclose(np.abs(axes[:, 1]), [0, 1, 0], atol=0.02)  # 10 rows are narrower than 20 columns
    assert (place.x, place.y) == pytest.approx(((39.5 - 32) / 200, (14.5 - 24) / 200), abs=0.005)
    assert 0.24 < place.z < 0.27
    assert client.until(lambda: client.got["grasp"])[0].pose == proposed.pose


@pytest.mark.parametrize(
    ("target_mm", "question", "words"),
    [
        (1000, "the bright one", "the gripper opens 0.080 m"),
        (250, "the unicorn", "no_target"),
        (250, "boom", "failed"),
    ],
)
def test_a_grasp_is_refused_with_its_reason(show, grasp, target_mm, question, words):
    show(target_mm)
    with pytest.raises(grasping.Refused, match=words):
        grasp(question)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mask_score": 0.3}, "mask_score is 0.30; at least 0.60"),
        ({"box_iou": 0.1}, "box_iou is 0.10"),
        ({"valid_depth_share": 0.4}, "valid_depth_share is 0.40"),
        ({"point_count": 9}, "only 9 points"),
        ({"has_3d": False, "error_3d": "too little depth"}, "too little depth"),
        ({"has_3d": False}, "without depth"),
    ],
)
def test_poor_quality_is_refused(fields, words):
    good = {"mask_score": 0.9, "box_iou": 0.9, "valid_depth_share": 0.9, "point_count": 500, "has_3d": True}
    answer = msg.Segmentation(status="ok", regions=[msg.Region(**{**good, **fields})])
    with pytest.raises(grasping.Refused, match=words):
        grasping.propose(answer, grasping.Limits())


def test_several_things_are_refused():
    answer = msg.Segmentation(status="ok", regions=[msg.Region(), msg.Region()])
    with pytest.raises(grasping.Refused, match="2 things fit"):
        grasping.propose(answer, grasping.Limits())


def test_answers_reach_the_semantic_layer_as_classes_with_an_aligned_cloud(show, context, client):
    for name, kind in (("label_mask", Image), ("confidence", Image), ("points", PointCloud2)):
        client.listen(f"layer {name}", kind, f"semantic_layer/{name}")
    node = semantic.SemanticCostmapConsumer(["the unicorn", "the bright one"], context=context)
    client.spinner.add_node(node)
    try:
        client.until(lambda: client.depths.get_subscription_count() == client.infos.get_subscription_count() == 2)
        show(target_mm=900)
        # The unicorn's masks are empty; the class of the second question is 2.
        client.until(lambda: any(max(mask.data) == 2 for mask in client.got["layer label_mask"]))
        at = next(i for i, mask in enumerate(client.got["layer label_mask"]) if max(mask.data))
        client.until(lambda: min(len(client.got[f"layer {name}"]) for name in ("confidence", "points")) > at)
        mask, confidence, cloud = (client.got[f"layer {name}"][at] for name in ("label_mask", "confidence", "points"))
    finally:
        client.spinner.remove_node(node)
        node.destroy_node()
    assert mask.header == confidence.header == cloud.header and mask.header.stamp.nanosec == 50 * MS
    assert (mask.encoding, cloud.height, cloud.width) == ("mono8", mask.height, mask.width)
    labels = np.frombuffer(mask.data, np.uint8).reshape(48, 64)
    bright = bright_frame().rgb[:, :, 0] > 0
    np.testing.assert_array_equal(labels, 2 * bright)
    np.testing.assert_array_equal(np.frombuffer(confidence.data, np.uint8).reshape(48, 64) > 0, bright)
    points = np.frombuffer(cloud.data, np.float32).reshape(48, 64, 3)
    np.testing.assert_array_equal(np.isfinite(points).all(-1), bright)
    np.testing.assert_allclose(points[10, 30], [0.9 * (30 - 32) / 50, 0.9 * (10 - 24) / 50, 0.9], atol=1e-5)
    first = client.got["layer label_mask"][0] if at else None
    assert first is None or not np.any(first.data)


def test_the_semantic_cloud_goes_through_the_lens_as_the_nodes_points_do():
    lens = Intrinsics(50.0, 50.0, 32.0, 24.0, (-0.3, 0.1, 0.01, -0.01, 0.0))
    frame = bright_frame(1)
    mask, depth_m = frame.rgb[:, :, 0] > 0, np.full((48, 64), 0.9, np.float32)
    cloud = semantic.organised_cloud(Header(), depth_m, lens, mask)
    points = np.frombuffer(cloud.data, np.float32).reshape(48, 64, 3)
    np.testing.assert_array_equal(np.isfinite(points).all(-1), mask)
    surface = surface_of(replace(frame, depth_m=depth_m, intrinsics=lens), mask, 0.3)
    x, y = surface.pixels_xy.T
    np.testing.assert_allclose(points[y, x], surface.points_m, atol=1e-6)


def test_the_semantic_cloud_of_an_answer_without_3d_is_left_out_with_the_nodes_reason(context):
    node = semantic.SemanticCostmapConsumer(["the bright one"], context=context)
    try:
        answer = msg.Segmentation(status=msg.Segmentation.OK, warning_3d="no camera_info: none of 64 x 48")
        with pytest.raises(InvalidInput, match="none of 64 x 48"):
            node._cloud(answer, np.ones((48, 64), bool))
    finally:
        node.destroy_node()


def test_label_info_numbers_the_questions_from_one():
    messages = SimpleNamespace(
        VisionClass=lambda **fields: SimpleNamespace(**fields), LabelInfo=lambda **fields: SimpleNamespace(**fields)
    )
    classes = semantic.label_info(messages, ["wet floor", "cable"]).class_map
    assert [(one.class_id, one.class_name) for one in classes] == [(1, "wet floor"), (2, "cable")]


PLAIN = EXAMPLES / "05_plain_consumer.py"


@pytest.mark.parametrize("encoding", ["png", "rle"])
def test_a_plain_consumer_decodes_every_mask(encoding):
    plain = example("05_plain_consumer")
    rng = np.random.default_rng(4)
    for mask in (rng.random((37, 53)) > 0.5, np.eye(9, dtype=bool), np.zeros((4, 6), bool)):
        message = msg.Mask(**asdict(encode_mask(mask, encoding)))
        np.testing.assert_array_equal(plain.decode(message), mask)


def test_a_plain_consumer_imports_nothing_of_this_package_but_its_messages():
    lines = [line for line in PLAIN.read_text(encoding="utf-8").splitlines() if line.startswith(("from", "import"))]
    assert [line for line in lines if "reasonseg_ros" in line] == [
        "from reasonseg_ros.msg import Mask, Query, Segmentation"
    ]


@pytest.mark.parametrize("encoding", ["png", "rle"])
def test_a_plain_consumer_asks_and_prints_the_answer(start_node, client, start_process, encoding):
    start_node(output__mask_encoding=encoding)
    client.connect()
    client.images.publish(image_of(bright_frame(7)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    consumer = start_process(str(PLAIN), "the bright one")
    said = consumer.communicate(timeout=90)[1]
    assert consumer.returncode == 0
    assert "30 10 50 20: 200 pixels" in said


def test_a_plain_consumer_tells_a_failure_from_an_empty_scene(node, start_process):
    said = [start_process(str(PLAIN), question).communicate(timeout=90)[1] for question in ("the unicorn", "boom")]
    assert "nothing fits: nothing here fits" in said[0] and "WARN" not in said[0]
    assert "failed: reasoning: RuntimeError: the model fell over" in said[1] and "WARN" in said[1]


@pytest.mark.parametrize("name", ["02_write_your_own_method", "03_write_your_own_reasoner"])
def test_the_node_runs_with_a_method_or_reasoner_of_ones_own(start_process, client, name):
    start_process(str(EXAMPLES / f"{name}.py"), "--node", "--ros-args", "-p", "reasoner.known_picture:=never")
    client.connect()
    rgb = np.full((240, 320, 3), 200, np.uint8)
    rgb[80:140, 100:180] = (220, 20, 20)
    client.images.publish(image_of(Frame(rgb, 5)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    answer = client.ask("the red thing")
    assert answer.status in ("ok", "no_target"), answer.error
    if name.startswith("03"):
        box = answer.regions[0].box
        np.testing.assert_allclose([box.x1, box.y1, box.x2, box.y2], [100, 80, 180, 140], atol=6)

"""Answers as messages of other packages: their fields, and what the real node publishes of them."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_client import image_of, value
from scripted_node import bright_frame
from sensor_msgs.msg import CameraInfo

from reasonseg_ros.live.questions import Outcome, Question, failed_outcome
from reasonseg_ros.ros.standard.annotations import MOST_LINES, MOST_OUTLINES, MOST_POINTS, image_annotations
from reasonseg_ros.ros.standard.detections import detections_2d, detections_3d, label_info
from reasonseg_ros.ros.standard.target_pose import target_pose
from reasonseg_ros.ros.standard.topics import STANDARD_TOPICS
from reasonseg_ros.spatial import Intrinsics, OrientedBox, Surface
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Segmentation, Status

MS = 1_000_000
FRAME = Frame(
    np.full((48, 64, 3), 90, np.uint8),
    7_000_000_008,
    "optical",
    depth_m=np.ones((48, 64), np.float32),
    intrinsics=Intrinsics(50.0, 50.0, 32.0, 24.0),
)


class StandIns:
    """The messages of a package that is not installed: each holds the fields that it is made with."""

    def __getattr__(self, kind):
        lists = {"texts": [], "points": [], "circles": []} if kind == "ImageAnnotations" else {}
        return lambda **fields: SimpleNamespace(kind=kind, **lists, **fields)


@pytest.fixture(params=["stand-ins", "installed"])
def messages(request):
    """The module `msg` of a package, of stand-ins and, where it is installed, the real one, which checks its fields."""

    def of(package):
        if request.param == "stand-ins":
            return StandIns()
        return pytest.importorskip(f"{package}.msg", reason=f"{package} is not installed")

    return of


def region(rows, columns, score=0.5, label="", track=0, center_m=None):
    mask = np.zeros((48, 64), bool)
    mask[rows, columns] = True
    box = np.array([columns.start, rows.start, columns.stop, rows.stop], np.float32)
    surface = None
    if center_m is not None:
        surface = Surface("optical", box=OrientedBox(np.array(center_m, float), np.eye(3), np.array([0.3, 0.2, 0.1])))
    grounding = Grounding(box, np.array([[columns.start + 1, rows.start + 2]], np.float32), label=label)
    return Region(
        mask, box, grounding, score, 1.0, 1.0, 0, 1,
        track_id=track, track_state="tracked" if track else "", surface=surface,
    )  # fmt: skip


MUG = region(slice(10, 20), slice(30, 50), 0.9, "mug", center_m=(0.1, 0.2, 1.0))
CUP = region(slice(30, 40), slice(4, 10), 0.7, center_m=(0.4, 0.2, 1.5))
FLAT = replace(MUG, surface=Surface("optical", error="too little depth"))


def outcome(*regions, frame=FRAME, thought="because"):
    status = Status.OK if regions else Status.NO_TARGET
    query = Query("the things to drink from", "q7")
    answer = Answer(status, thought, tuple(one.grounding for one in regions))
    return Outcome(Question(query, print), Segmentation(frame, query, answer, regions), 1.0)


FAILED = failed_outcome(Question(Query("?", "q8"), print), Status.TIMEOUT, "it took too long", FRAME)
UNSURE = Outcome(
    Question(Query("?", "q9"), print),
    Segmentation(FRAME, Query("?"), Answer(Status.UNSURE, "hm", (MUG.grounding,), error="0.2 is below 0.5"), (MUG,)),
    1.0,
)


def stamp_of(header):
    return header.stamp.sec, header.stamp.nanosec, header.frame_id


def test_regions_are_detections_in_the_image(messages):
    array = detections_2d(messages("vision_msgs"), outcome(MUG, replace(CUP, track_id=4)))
    assert stamp_of(array.header) == (7, 8, "optical")
    mug, cup = array.detections
    box = mug.bbox
    assert (box.center.position.x, box.center.position.y, box.size_x, box.size_y) == (40.0, 15.0, 20.0, 10.0)
    named = [(one.id, one.results[0].hypothesis.class_id, one.results[0].hypothesis.score) for one in (mug, cup)]
    assert named == [("", "mug", 0.9), ("4", "the things to drink from", 0.7)]
    assert mug.header == array.header


def test_regions_with_a_box_are_detections_in_space(messages):
    array = detections_3d(messages("vision_msgs"), outcome(FLAT, CUP))
    (cup,) = array.detections
    assert array.header.frame_id == cup.header.frame_id == "optical"
    assert (cup.bbox.center.position.x, cup.bbox.center.position.z, cup.bbox.size.y) == (0.4, 1.5, 0.2)
    assert cup.bbox.center.orientation.w == 1.0 and cup.results[0].pose.pose == cup.bbox.center


def test_what_has_no_place_is_not_an_empty_list_in_space(messages):
    made = [detections_3d(messages("vision_msgs"), one) for one in (outcome(FLAT), outcome(), UNSURE, FAILED)]
    assert [one if one is None else len(one.detections) for one in made] == [None, 0, None, None]
    assert detections_3d(messages("vision_msgs"), outcome(frame=Frame(FRAME.rgb))) is None


def test_only_answers_are_lists(messages):
    for make, name in ((detections_2d, "detections"), (label_info, "class_map")):
        made = [make(messages("vision_msgs"), one) for one in (outcome(), UNSURE, FAILED)]
        assert [one if one is None else len(getattr(one, name)) for one in made] == [0, None, None]


def test_the_label_masks_values_have_names(messages):
    info = label_info(messages("vision_msgs"), outcome(MUG, CUP))
    assert [(one.class_id, one.class_name) for one in info.class_map] == [(1, "mug"), (2, "the things to drink from")]
    many = label_info(messages("vision_msgs"), outcome(*[MUG] * 300))
    assert many.class_map[-1].class_id == len(many.class_map) == 255


def test_annotations_outline_and_name_the_regions_and_give_the_reason(messages):
    module = messages("foxglove_msgs")
    made = image_annotations(module, outcome(MUG, replace(CUP, track_id=3, track_state="tracked")))
    first, _ = made.points
    assert first.type == getattr(getattr(module, "PointsAnnotation", None), "LINE_LOOP", 2) == 2
    assert {(point.x, point.y) for point in first.points} == {(30.5, 10.5), (49.5, 10.5), (49.5, 19.5), (30.5, 19.5)}
    assert (first.timestamp.sec, first.timestamp.nanosec) == (7, 8)
    # The followed target's point belongs to an earlier image.
    assert [(one.position.x, one.position.y) for one in made.circles] == [(31.5, 12.5)]
    words = [text.text for text in made.texts]
    assert " ".join(words[:-2]) == "the things to drink from because"
    assert words[-2:] == ["mug 0.90", "2 0.70"]
    assert all(0 <= text.text_color.r <= 1 and text.font_size >= 9 for text in made.texts)


def test_annotations_of_a_failure_say_why(messages):
    made = image_annotations(messages("foxglove_msgs"), FAILED)
    assert " ".join(text.text for text in made.texts) == "? [timeout] it took too long"
    assert not made.points and not made.circles
    assert image_annotations(messages("foxglove_msgs"), failed_outcome(FAILED.question, Status.NO_FRAME, "-")) is None


def test_annotations_are_bounded(messages):
    rough = np.zeros((400, 6000), bool)
    rough[::2, ::2] = rough[200:204] = rough[:, ::4] = True
    rough[:100] = False
    rough[:80:2, ::2] = True  # 120,000 parts
    frame = Frame(np.zeros((400, 6000, 3), np.uint8))
    made = image_annotations(
        messages("foxglove_msgs"), outcome(replace(MUG, mask=rough), frame=frame, thought="word " * 2000)
    )
    assert len(made.points) == MOST_OUTLINES
    assert 100 < max(len(one.points) for one in made.points) <= MOST_POINTS, "the largest part is outlined"
    assert len(made.texts) == MOST_LINES + 1


@pytest.mark.parametrize(
    ("regions", "place"),
    [
        ((MUG, CUP), 0.1),
        ((CUP, MUG), 0.1),
        ((FLAT, CUP), 0.4),
        ((replace(MUG, track_id=2), replace(CUP, track_id=1)), 0.4),  # the pose stays with one of the followed targets
    ],
)
def test_the_target_pose_is_the_best_targets(regions, place):
    pose = target_pose(None, outcome(*regions))
    assert (pose.pose.position.x, pose.header.frame_id) == (place, "optical")
    assert pose.pose.orientation.w == 1.0


def test_without_a_place_there_is_no_target_pose():
    flat = outcome(MUG, frame=Frame(FRAME.rgb))
    assert [target_pose(None, one) for one in (outcome(FLAT), outcome(), UNSURE, FAILED, flat)] == [None] * 5


@pytest.fixture
def see(client):
    """Shows the node an image, with depth if wanted."""

    def send(stamp_ms, with_depth=True):
        if with_depth:
            client.infos.publish(CameraInfo(width=64, height=48, k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]))
            depth = image_of(bright_frame(stamp_ms * MS))
            depth.encoding, depth.step = "16UC1", 128
            millimetres = np.where(bright_frame().rgb[:, :, 0] > 0, 1000, 1200).astype(np.uint16)
            depth.data = millimetres.tobytes()
            client.depths.publish(depth)
            client.diagnostic("depth", lambda status: value(status, "received") == "1")
        client.images.publish(image_of(bright_frame(stamp_ms * MS)))
        client.diagnostic("camera", lambda status: value(status, "received") == "1")

    return send


def standard_topics_of(node):
    """The topics of the table that the node has publishers for."""
    names = {name for name, _ in node.get_publisher_names_and_types_by_node("reasonseg", "/")}
    return {topic.name for topic in STANDARD_TOPICS if f"/reasonseg/{topic.name}" in names}


def test_the_node_publishes_the_pose_of_the_target(start_node, client, see):
    client.listen("target_pose", PoseStamped, "reasonseg/target_pose")
    start_node()
    client.connect()
    client.until(client.infos.get_subscription_count)
    see(50)
    answer = client.ask("the bright one")
    (pose,) = client.until(lambda: client.got["target_pose"])
    assert (pose.header, pose.pose) == (answer.header, answer.regions[0].box_3d.pose)
    assert client.ask("the unicorn").status == "no_target" and len(client.got["target_pose"]) == 1


def test_answers_reach_other_packages_messages(start_node, client, see):
    vision = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    for name, kind in (("detections_2d", vision.Detection2DArray), ("detections_3d", vision.Detection3DArray)):
        client.listen(name, kind, f"reasonseg/{name}")
    start_node()
    client.connect()
    client.until(client.infos.get_subscription_count)
    see(50)
    answer = client.ask("the bright one")
    in_image = client.until(lambda: client.got["detections_2d"])[0]
    in_space = client.until(lambda: client.got["detections_3d"])[0]
    assert in_image.header == answer.header and in_image.detections[0].bbox.size_x == 20.0
    assert in_space.detections[0].bbox.center == answer.regions[0].box_3d.pose
    # A reader that comes later gets the names that are valid now.
    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    names = []
    client.create_subscription(vision.LabelInfo, "reasonseg/label_info", names.append, late)
    client.until(lambda: names)
    assert [(one.class_id, one.class_name) for one in names[0].class_map] == [(1, "the bright one")]
    client.ask("the bright one")
    client.ask("the unicorn")
    client.until(lambda: len(client.got["detections_2d"]) == 3 and len(names) == 2)
    assert list(names[1].class_map) == [] and list(client.got["detections_2d"][2].detections) == []


def test_annotations_follow_every_question_with_an_image(start_node, client, see):
    foxglove = pytest.importorskip("foxglove_msgs.msg", reason="foxglove_msgs is not installed")
    client.listen("annotations", foxglove.ImageAnnotations, "reasonseg/annotations")
    start_node()
    client.connect()
    see(50, with_depth=False)
    for question in ("the bright one", "boom"):
        client.ask(question)
    client.until(lambda: len(client.got["annotations"]) == 2)
    found, failed = client.got["annotations"]
    assert len(found.points) == 1 and found.points[0].timestamp.nanosec == 50 * MS
    assert not failed.points and "[failed]" in " ".join(text.text for text in failed.texts)


def test_packages_that_are_not_installed_leave_their_topics_out(start_node, client, see, monkeypatch):
    for package in ("vision_msgs", "foxglove_msgs"):
        monkeypatch.setitem(sys.modules, f"{package}.msg", None)
    node = start_node()
    client.connect()
    see(50, with_depth=False)
    assert client.ask("the bright one").status == "ok"
    assert standard_topics_of(node) == {"target_pose"}


def test_each_topic_has_its_switch(start_node, client, see):
    node = start_node(**{f"output__{topic.name}": False for topic in STANDARD_TOPICS})
    client.connect()
    see(50, with_depth=False)
    assert client.ask("the bright one").status == "ok"
    assert standard_topics_of(node) == set()

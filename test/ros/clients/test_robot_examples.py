"""The MoveIt and behaviour tree examples beside the real node."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3
from rclpy.action import ActionServer
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from reasonseg_ros.action import Segment
from ros_client import image_of, value
from scripted_node import bright_frame
from sensor_msgs.msg import CameraInfo, PointCloud2

from reasonseg_ros import msg
from test.examples.loading import example

MS = 1_000_000
moveit = example("09_moveit")
graspgenx = example("11_graspgenx")


class StandIns:
    """The messages of moveit_msgs where it is not installed: each holds the fields that it is made with."""

    def __getattr__(self, kind):
        def make(**fields):
            header = fields.pop("header", None) or PoseStamped().header
            return SimpleNamespace(kind=kind, header=header, **fields)

        make.ADD, make.REMOVE = b"\x00", b"\x01"
        return make


@pytest.fixture(params=["stand-ins", "installed"])
def messages(request):
    if request.param == "stand-ins":
        return StandIns()
    return pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed")


def region(identity, **fields):
    pose = Pose(position=Point(x=0.1, y=0.2, z=1.0), orientation=Quaternion(w=1.0))
    box = msg.Box3D(pose=pose, size=Vector3(x=0.06, y=0.04, z=0.1))
    scores = {"mask_score": 0.9, "box_iou": 0.9, "valid_depth_share": 0.9, "point_count": 500}
    return msg.Region(id=identity, **{**scores, "has_3d": True, "box_3d": box, **fields})


def answer(*regions, **fields):
    return msg.Segmentation(
        **{"status": "ok", "question": "the mug", "frame_3d": "base", "regions": list(regions), **fields}
    )


def test_regions_are_boxes_of_the_planning_scene(messages):
    first, second = moveit.collision_objects(
        messages, answer(region(1, label="mug"), region(2, track_id=7), region(3, has_3d=False))
    )
    assert [first.id, second.id] == ["mug 1", "the mug 7"]
    assert (first.header.frame_id, first.operation) == ("base", messages.CollisionObject.ADD)
    assert (first.pose.position.x, list(first.primitives[0].dimensions)) == (0.1, [0.06, 0.04, 0.1])
    assert first.primitives[0].type == 1 and first.primitive_poses[0].orientation.w == 1.0
    (gone,) = moveit.removals(messages, ["mug 1"], "base")
    assert (gone.id, gone.header.frame_id, gone.operation) == ("mug 1", "base", messages.CollisionObject.REMOVE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "unsure", "error": "0.2 is below 0.5"}, "unsure: 0.2 is below"),
        ({"status": "no_target", "thought": "nothing fits"}, "no_target: nothing fits"),
        ({"regions": [region(1, has_3d=False, error_3d="too little depth")]}, "too little depth"),
        ({"regions": [region(1, has_3d=False)]}, "without depth"),
    ],
)
def test_without_places_the_planning_scene_stays(messages, fields, words):
    with pytest.raises(moveit.Refused, match=words):
        moveit.collision_objects(messages, answer(**fields))


def test_a_grasp_approaches_along_the_gripper_and_retreats_back(messages):
    pose = moveit.grasping.propose(answer(region(1)), moveit.grasping.Limits())
    grasp = moveit.grasp_message(messages, pose, "mug 1", 0.9)
    ways = [grasp.pre_grasp_approach, grasp.post_grasp_retreat]
    directions = [(way.direction.vector.x, way.direction.vector.y, way.direction.vector.z) for way in ways]
    np.testing.assert_allclose(directions, [(0, 0, -1), (0, 0, 1)], atol=1e-6)  # down on the support, and up again
    assert ways[0].direction.header.frame_id == grasp.grasp_pose.header.frame_id == "base"
    assert all(0 < way.min_distance < way.desired_distance for way in ways)
    assert (grasp.grasp_quality, list(grasp.allowed_touch_objects)) == (0.9, ["mug 1"])


@pytest.fixture
def show(start_node, client):
    """Starts the node, and shows it an image with depth."""
    start_node()
    client.connect()
    client.until(client.infos.get_subscription_count)
    client.infos.publish(CameraInfo(width=64, height=48, k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]))
    depth = image_of(bright_frame(50 * MS))
    depth.encoding, depth.step = "16UC1", 128
    depth.data = np.where(bright_frame().rgb[:, :, 0] > 0, 250, 270).astype(np.uint16).tobytes()
    client.depths.publish(depth)
    client.diagnostic("depth", lambda status: value(status, "received") == "1")
    client.images.publish(image_of(bright_frame(50 * MS)))
    client.diagnostic("depth", lambda status: value(status, "images with depth") == "1")


@pytest.fixture
def beside(context, client):
    """Spins a node of an example beside the client."""
    executors = []

    def add(node):
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        executors.append((executor, node))
        return executor

    yield add
    for executor, node in executors:
        executor.shutdown()
        node.destroy_node()


def test_moveit_gets_the_nodes_answer(show, context, client, beside):
    messages = pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed")
    client.listen("objects", messages.CollisionObject, "/collision_object")
    client.listen("grasps", messages.Grasp, "/moveit_scene/grasp")
    node = moveit.MoveItConsumer(messages, context=context)
    executor = beside(node)
    client.until(lambda: node.count_subscribers("/collision_object") and client.count_publishers("/collision_object"))
    for question in ("the bright one", "the handle of the bright one"):
        task = executor.create_task(node.update, question)
        client.until(lambda task=task: executor.spin_once(timeout_sec=0.02) or task.done())
        _, grasp = task.result()
        assert grasp is not None
    client.until(lambda: len(client.got["objects"]) == 3 and client.got["grasps"])
    said = [(one.id, one.operation) for one in client.got["objects"]]
    added, removed = messages.CollisionObject.ADD, messages.CollisionObject.REMOVE
    assert said == [
        ("the bright one 1", added), ("the bright one 1", removed), ("the handle of the bright one 1", added),
    ]  # fmt: skip


class CloudGoal:
    """A goal as of an action for the points of one object."""

    types: ClassVar = {"object_cloud": "sensor_msgs/PointCloud2", "grasps": "uint32"}

    def __init__(self, **fields):
        self.fields = fields

    @classmethod
    def get_fields_and_field_types(cls):
        return cls.types


def test_a_goal_for_grasps_takes_the_cloud_in_its_only_field_of_that_type():
    cloud = PointCloud2(width=3)
    assert graspgenx.grasp_goal(CloudGoal, cloud).fields == {"object_cloud": cloud}

    class Two(CloudGoal):
        types: ClassVar = {"object_cloud": "sensor_msgs/PointCloud2", "scene_cloud": "sensor_msgs/PointCloud2"}

    with pytest.raises(graspgenx.Refused, match="2 fields of the type sensor_msgs/PointCloud2"):
        graspgenx.grasp_goal(Two, cloud)
    with pytest.raises(graspgenx.Refused, match="0 fields"):
        graspgenx.grasp_goal(Segment.Goal, cloud)


def test_several_targets_are_no_object_to_grasp():
    with pytest.raises(graspgenx.Refused, match="2 targets"):
        graspgenx.target_cloud(answer(region(1), region(2)), PointCloud2())


@pytest.fixture
def ask_for_grasps(show, context, client, beside, monkeypatch):
    """Asks beside the real node; a server of another action type stands for the planner. Also the clouds it got."""
    clouds = []
    monkeypatch.setattr(
        graspgenx, "grasp_goal", lambda _, cloud: clouds.append(cloud) or Segment.Goal(text="grasps")
    )  # fmt: skip
    node = graspgenx.GraspClient(Segment, context=context)
    executor = beside(node)
    client.until(lambda: node.count_publishers("/reasonseg/points"))

    def ask(question):
        task = executor.create_task(node.grasps, question)
        client.until(lambda: executor.spin_once(timeout_sec=0.02) or task.done())
        return task.result(), clouds

    return ask


def test_a_grasp_planner_gets_the_points_of_the_target(ask_for_grasps, client):
    def plan(goal):
        goal.succeed()
        return Segment.Result(segmentation=msg.Segmentation(thought=goal.request.text))

    server = ActionServer(client, Segment, "generate_grasps", plan)
    try:
        result, (cloud,) = ask_for_grasps("the bright one")
    finally:
        server.destroy()
    assert result.segmentation.thought == "grasps"
    (target,) = client.got["segmentation"][-1].regions
    rows = np.frombuffer(cloud.data, "<f4").reshape(-1, 5)
    assert (cloud.width, cloud.row_step, cloud.header.frame_id) == (len(rows), 20 * len(rows), "camera")
    assert len(rows) == target.point_count > 0
    np.testing.assert_allclose(rows[:, 2], 0.25, atol=0.02)


@pytest.mark.parametrize(("question", "words"), [("the unicorn", "no_target: nothing here fits"), ("boom", "failed")])
def test_without_a_target_no_grasps_are_asked_for(ask_for_grasps, question, words):
    with pytest.raises(graspgenx.Refused, match=words):
        ask_for_grasps(question)


def test_a_grasp_planner_that_does_not_run_is_named(ask_for_grasps, monkeypatch):
    monkeypatch.setattr(graspgenx, "SERVER_LIMIT_S", 0.5)
    with pytest.raises(graspgenx.Refused, match="no action server at /generate_grasps"):
        ask_for_grasps("the bright one")


@pytest.fixture
def behaviours():
    py_trees = pytest.importorskip("py_trees", reason="py_trees is not installed")
    yield example("10_behaviour_tree")
    py_trees.blackboard.Blackboard.clear()


@pytest.mark.parametrize(
    ("question", "status", "words"),
    [("the bright one", "SUCCESS", ""), ("the unicorn", "FAILURE", "gave up: no_target: nothing here fits"),
     ("boom", "FAILURE", "gave up: failed")],
)  # fmt: skip
def test_a_behaviour_tree_acts_on_answers_only(
    show, context, client, beside, behaviours, capsys, question, status, words
):
    client.listen("goal", PoseStamped, "goal")
    node = Node("behaviour_tree", context=context)
    executor = beside(node)
    tree = behaviours.make_tree(question)
    tree.setup(node=node)
    client.until(lambda: client.count_publishers("goal") and node.count_subscribers("goal"))

    def ticked():
        tree.tick()
        executor.spin_once(timeout_sec=0.02)
        return tree.root.status.name in ("SUCCESS", "FAILURE")

    client.until(ticked)
    assert tree.root.status.name == status
    assert words in capsys.readouterr().out
    if status == "SUCCESS":
        (goal,) = client.until(lambda: client.got["goal"])
        assert goal.pose == client.got["segmentation"][-1].regions[0].box_3d.pose
    else:
        assert not client.got["goal"]


def test_an_unsure_answer_is_asked_back(behaviours, capsys):
    has_status, say = behaviours.HasStatus("unsure"), behaviours.Say("a person is asked", behaviours.Status.SUCCESS)
    ask = behaviours.Ask("the mug")
    this, that = (msg.Region(box=msg.Box(x1=x, y1=10.0, x2=x + 20, y2=30.0)) for x in (0.0, 50.0))
    ask._board.answer = msg.Segmentation(
        status="unsure", error="0.2 is below 0.5", regions=[this], has_alternative=True, alternative=[that]
    )
    for behaviour in (has_status, say):
        behaviour.tick_once()
        assert behaviour.status == behaviours.Status.SUCCESS
    assert "a person is asked: unsure: 0.2 is below 0.5; (10, 20), or (60, 20)?" in capsys.readouterr().out


def test_stopping_the_tree_cancels_the_question(show, context, client, beside, behaviours):
    node = Node("behaviour_tree", context=context)
    executor = beside(node)
    tree = behaviours.make_tree("slow: the bright one")
    tree.setup(node=node)

    def is_asked():
        tree.tick()
        executor.spin_once(timeout_sec=0.02)
        return client.got["reasoning"]

    client.until(is_asked)
    tree.root.stop(behaviours.Status.INVALID)
    client.until(lambda: executor.spin_once(timeout_sec=0.02) or client.got["segmentation"])
    assert client.got["segmentation"][-1].status == "cancelled"

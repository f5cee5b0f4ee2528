"""Adds the regions of an answer to MoveIt's planning scene, and proposes a grasp of the target.

    python examples/09_moveit.py "the mug"

needs moveit_msgs, and the node with depth and camera_info. It publishes, in the frame of the node's results:

    /collision_object      moveit_msgs/CollisionObject   a box for each region; move_group reads them
    /moveit_scene/grasp    moveit_msgs/Grasp             for a single target, if examples/07_grasp.py proposes one

The grasp is that of example 07: the gripper approaches along its z axis, and its fingers close along y. Postures are
empty, because they name the joints of a hand. Fill `pre_grasp_posture` and `grasp_posture`, and turn the pose to your
wrist's axes. Boxes of the previous answer are removed. A box covers what the camera saw. Hidden sides are not guessed,
so add padding in MoveIt.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Pose, PoseStamped, Quaternion, Vector3, Vector3Stamped
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from reasonseg_ros.action import Segment
from reasonseg_ros.msg import Segmentation
from shape_msgs.msg import SolidPrimitive

from reasonseg_ros.geometry import rotation_matrix

sys.path.append(str(Path(__file__).parent))
grasping = importlib.import_module("07_grasp")  # a name that begins with a number cannot be imported by `import`

APPROACH_M, RETREAT_M = 0.10, 0.12


class Refused(Exception):
    """Raised when the planning scene is not changed. The message says why."""


def collision_objects(messages: Any, answer: Segmentation) -> list[Any]:
    """CollisionObject messages of the regions with a box; `messages` is moveit_msgs.msg. Raises Refused."""
    if answer.status != Segmentation.OK:
        raise Refused(f"the answer is {answer.status}: {answer.error or answer.thought}")
    placed = [region for region in answer.regions if region.has_3d]
    if not placed:
        reasons = [answer.warning_3d, *(region.error_3d for region in answer.regions), "the image came without depth"]
        raise Refused(f"no place is known: {next(reason for reason in reasons if reason)}")
    objects = []
    for region in placed:
        size = region.box_3d.size
        box = SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[size.x, size.y, size.z])
        message = messages.CollisionObject(header=answer.header, pose=region.box_3d.pose, primitives=[box])
        message.header.frame_id = answer.frame_3d
        message.primitive_poses = [Pose(orientation=Quaternion(w=1.0))]
        message.id = f"{region.label or answer.question} {region.track_id or region.id}"
        message.operation = messages.CollisionObject.ADD
        objects.append(message)
    return objects


def removals(messages: Any, identities: Iterable[str], frame_id: str) -> list[Any]:
    """CollisionObject messages that remove the objects with these ids from the scene."""
    objects = [messages.CollisionObject(id=identity) for identity in identities]
    for message in objects:
        message.header.frame_id = frame_id
        message.operation = messages.CollisionObject.REMOVE
    return objects


def grasp_message(messages: Any, pose: PoseStamped, identity: str, quality: float) -> Any:
    """Grasp with approach and retreat along the gripper's z axis, which may touch the object of that id."""
    quat = pose.pose.orientation
    ahead = rotation_matrix([quat.x, quat.y, quat.z, quat.w])[:, 2]
    return messages.Grasp(
        id=f"top grasp of {identity}",
        grasp_pose=pose,
        grasp_quality=quality,
        pre_grasp_approach=_translation(messages, pose, ahead, APPROACH_M),
        post_grasp_retreat=_translation(messages, pose, -ahead, RETREAT_M),
        allowed_touch_objects=[identity],
    )


def _translation(messages: Any, pose: PoseStamped, direction: Sequence[float] | np.ndarray, length_m: float) -> Any:
    x, y, z = (float(value) for value in direction)
    return messages.GripperTranslation(
        direction=Vector3Stamped(header=pose.header, vector=Vector3(x=x, y=y, z=z)),
        desired_distance=length_m,
        min_distance=length_m / 2,
    )


class MoveItConsumer(Node):
    """Asks one question at a time; `messages` is moveit_msgs.msg."""

    def __init__(self, messages: Any, limits: Any = None, **node_arguments: Any) -> None:
        super().__init__("moveit_scene", **node_arguments)
        self._messages = messages
        self._limits = limits or grasping.Limits()
        self._in_scene: set[str] = set()
        self._asking = ActionClient(self, Segment, "/reasonseg/segment")
        self._objects = self.create_publisher(messages.CollisionObject, "/collision_object", 20)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._grasps = self.create_publisher(messages.Grasp, "~/grasp", latched)

    async def update(self, question: str) -> tuple[list[Any], Any | None]:
        """Ask, and send boxes and grasp. Returns the objects, and the grasp or None. Raises Refused."""
        self._asking.wait_for_server()
        goal = await self._asking.send_goal_async(Segment.Goal(text=question))
        if not goal.accepted:
            raise Refused("the node does not take goals now")
        answer = (await goal.get_result_async()).result.segmentation
        objects = collision_objects(self._messages, answer)
        gone = self._in_scene - {message.id for message in objects}
        for message in [*removals(self._messages, sorted(gone), answer.frame_3d), *objects]:
            self._objects.publish(message)
        self._in_scene = {message.id for message in objects}
        try:
            pose = grasping.propose(answer, self._limits)
        except grasping.Refused as refusal:
            self.get_logger().warning(f"no grasp: {refusal}")
            return objects, None
        grasp = grasp_message(self._messages, pose, objects[0].id, float(answer.regions[0].mask_score))
        self._grasps.publish(grasp)
        return objects, grasp


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    try:
        messages = importlib.import_module("moveit_msgs.msg")
    except ImportError:
        print("moveit_msgs is not installed; apt install ros-$ROS_DISTRO-moveit-msgs", file=sys.stderr)
        return 2
    rclpy.init()
    node = MoveItConsumer(messages)
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    task = executor.create_task(node.update, sys.argv[1])
    try:
        executor.spin_until_future_complete(task)
        objects, grasp = task.result()
        print(f"in the scene: {', '.join(message.id for message in objects)}")
        print(f"grasp: {grasp.grasp_pose.pose if grasp else 'none, see above'}")
        return 0
    except Refused as refusal:
        print(f"nothing sent: {refusal}")
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

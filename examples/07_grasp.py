"""Asks for an object or a part of one, and proposes a grasp for a two-finger gripper, or says why it should not try.

    python examples/07_grasp.py "the handle of the screwdriver"

needs the node with depth and camera_info. The proposal is also published on `grasp` (geometry_msgs/PoseStamped). It is
a top grasp in the frame of the node's results (`points.target_frame`). The gripper approaches along its z axis, down to
the support, and its fingers close along y, the narrower side of the box.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from reasonseg_ros.action import Segment
from reasonseg_ros.msg import Region, Segmentation

from reasonseg_ros.geometry import quat_xyzw, rotation_matrix


class Refused(Exception):
    """Raised when no grasp is proposed. The message says why."""


@dataclass(frozen=True)
class Limits:
    """Minimum values for a grasp, and the gripper's opening and finger length in metres."""

    mask_score: float = 0.6
    box_iou: float = 0.5
    valid_depth_share: float = 0.6
    points: int = 60
    opening_m: float = 0.08
    finger_m: float = 0.04


def propose(answer: Segmentation, limits: Limits) -> PoseStamped:
    """The gripper's pose for the one region of an answer. Raises Refused."""
    region = _the_one(answer)
    _check_quality(answer, region, limits)
    pose, size = region.box_3d.pose, region.box_3d.size
    if size.y > limits.opening_m:
        raise Refused(f"it is {size.y:.3f} m wide, and the gripper opens {limits.opening_m:.3f} m")
    quat = pose.orientation
    box = rotation_matrix([quat.x, quat.y, quat.z, quat.w])
    # No deeper than the fingers reach from above.
    lift_m = max(0.0, size.z / 2 - limits.finger_m)
    middle = np.array([pose.position.x, pose.position.y, pose.position.z]) + lift_m * box[:, 2]
    grasp = PoseStamped(header=answer.header)
    grasp.header.frame_id = answer.frame_3d
    place, turn = grasp.pose.position, grasp.pose.orientation
    place.x, place.y, place.z = middle.tolist()
    turn.x, turn.y, turn.z, turn.w = quat_xyzw(box @ np.diag([1.0, -1.0, -1.0]))
    return grasp


def _the_one(answer: Segmentation) -> Region:
    if answer.status != Segmentation.OK:
        raise Refused(f"the answer is {answer.status}: {answer.error or answer.thought}")
    if len(answer.regions) != 1:
        raise Refused(f"{len(answer.regions)} things fit; ask more precisely")
    return answer.regions[0]


def _check_quality(answer: Segmentation, region: Region, limits: Limits) -> None:
    if not region.has_3d:
        reason = region.error_3d or answer.warning_3d or "the image came without depth"
        raise Refused(f"its place is not known: {reason}")
    for name in ("mask_score", "box_iou", "valid_depth_share"):
        value, least = getattr(region, name), getattr(limits, name)
        if value < least:
            raise Refused(f"{name} is {value:.2f}; at least {least:.2f} is needed")
    if region.point_count < limits.points:
        raise Refused(f"only {region.point_count} points of it are seen; at least {limits.points} are needed")


class GraspConsumer(Node):
    """Asks one question at a time."""

    def __init__(self, limits: Limits | None = None, **node_arguments) -> None:
        super().__init__("grasp_consumer", **node_arguments)
        self._limits = limits or Limits()
        self._asking = ActionClient(self, Segment, "/reasonseg/segment")
        self._grasps = self.create_publisher(PoseStamped, "grasp", 1)

    async def grasp(self, question: str) -> PoseStamped:
        """Ask, propose and publish. Raises Refused."""
        self._asking.wait_for_server()
        goal = await self._asking.send_goal_async(Segment.Goal(text=question))
        if not goal.accepted:
            raise Refused("the node does not take goals now")
        answer = (await goal.get_result_async()).result.segmentation
        grasp = propose(answer, self._limits)
        if answer.warning_3d:
            self.get_logger().warning(f"the place is right only if: {answer.warning_3d}")
        self._grasps.publish(grasp)
        return grasp


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    rclpy.init()
    node = GraspConsumer()
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    task = executor.create_task(node.grasp, sys.argv[1])
    try:
        executor.spin_until_future_complete(task)
        pose = task.result().pose
        print(f"grasp at {pose.position} turned {pose.orientation} in {task.result().header.frame_id}")
        return 0
    except Refused as refusal:
        print(f"no grasp: {refusal}")
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

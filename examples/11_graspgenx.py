"""Sends the points of one target to GraspGenX, which proposes grasps of it.

    python examples/11_graspgenx.py "the mug"
    python examples/11_graspgenx.py "the mug" --ros-args -r generate_grasps:=/graspgenx/generate_grasps

needs isaac_ros_graspgenx_interfaces (Isaac ROS), its action server, and the node with depth and camera_info.

NVIDIA's documentation names the action `GenerateGrasps`, for the points of one object, but not the fields of its goal.
So the cloud goes into the only field of the type `sensor_msgs/PointCloud2`, and all other fields keep their defaults; a
goal with none or several such fields is refused. Not run with GraspGenX itself.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future
from rclpy.utilities import remove_ros_args
from reasonseg_ros.action import Segment
from reasonseg_ros.msg import Segmentation
from sensor_msgs.msg import PointCloud2

CLOUD = "sensor_msgs/PointCloud2"
SERVER_LIMIT_S, CLOUD_LIMIT_S = 10.0, 5.0


class Refused(Exception):
    """Raised when GraspGenX is not asked. The message says why."""


def target_cloud(answer: Segmentation, cloud: PointCloud2) -> PointCloud2:
    """The points of the answer's only target, in the layout and frame of `cloud` (`~/points`). Raises Refused."""
    if len(answer.regions) != 1:
        raise Refused(f"{len(answer.regions)} targets; ask for one of them")
    offset = next(field.offset for field in cloud.fields if field.name == "instance")
    points = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_step)
    identities = np.ascontiguousarray(points[:, offset : offset + 4]).view("<u4")[:, 0]
    own = points[identities == answer.regions[0].id]
    return PointCloud2(
        header=cloud.header, height=1, width=len(own), fields=cloud.fields, point_step=cloud.point_step,
        row_step=own.size, data=own.tobytes(), is_dense=cloud.is_dense,
    )  # fmt: skip


def grasp_goal(goal_type: Any, cloud: PointCloud2) -> Any:
    """A goal with the cloud in its only field of that type. Raises Refused."""
    types = goal_type.get_fields_and_field_types()
    fields = [name for name, kind in types.items() if kind == CLOUD]
    if len(fields) != 1:
        raise Refused(f"the goal has {len(fields)} fields of the type {CLOUD}, not one: {types}")
    return goal_type(**{fields[0]: cloud})


class GraspClient(Node):
    """Asks for a target, then for grasps of it; `action` is the action's type."""

    def __init__(self, action: Any, **node_arguments: Any) -> None:
        super().__init__("graspgenx_client", **node_arguments)
        self._goal_type = action.Goal
        self._asking = ActionClient(self, Segment, "/reasonseg/segment")
        self._grasping = ActionClient(self, action, "generate_grasps")
        self._clouds: dict[tuple[int, int], PointCloud2] = {}
        self._awaited: tuple[tuple[int, int], Future] | None = None
        self.create_subscription(PointCloud2, "/reasonseg/points", self._take, 5)

    def _take(self, cloud: PointCloud2) -> None:
        stamp = cloud.header.stamp.sec, cloud.header.stamp.nanosec
        self._clouds = {**dict(list(self._clouds.items())[-4:]), stamp: cloud}
        if self._awaited and self._awaited[0] == stamp and not self._awaited[1].done():
            self._awaited[1].set_result(cloud)

    async def grasps(self, question: str) -> Any:
        """The result of GenerateGrasps. Raises Refused."""
        if not self._asking.wait_for_server(SERVER_LIMIT_S):
            raise Refused("the node /reasonseg does not run")
        goal = await self._asking.send_goal_async(Segment.Goal(text=question))
        if not goal.accepted:
            raise Refused("the node does not take goals now")
        answer = (await goal.get_result_async()).result.segmentation
        cloud = await self._cloud_of(answer)
        if not self._grasping.wait_for_server(SERVER_LIMIT_S):
            raise Refused(f"no action server at {self.resolve_topic_name('generate_grasps')}")
        wished = grasp_goal(self._goal_type, target_cloud(answer, cloud))
        grasping = await self._grasping.send_goal_async(wished)
        if not grasping.accepted:
            raise Refused("the grasp planner refused the goal")
        return (await grasping.get_result_async()).result

    async def _cloud_of(self, answer: Segmentation) -> PointCloud2:
        """The cloud of the answer's image, which comes before or after the answer. Raises Refused."""
        if answer.status != Segmentation.OK:
            raise Refused(f"the answer is {answer.status}: {answer.error or answer.thought}")
        if not any(region.has_3d for region in answer.regions):
            reasons = [answer.warning_3d, *(region.error_3d for region in answer.regions)]
            raise Refused(f"no points: {next(filter(None, reasons), 'the image came without depth')}")
        stamp = answer.header.stamp.sec, answer.header.stamp.nanosec
        if stamp in self._clouds:
            return self._clouds[stamp]
        arrived = Future()
        self._awaited = stamp, arrived
        limit = self.create_timer(CLOUD_LIMIT_S, lambda: arrived.done() or arrived.set_result(None))
        cloud = await arrived
        self.destroy_timer(limit)
        if cloud is None:
            raise Refused(f"no cloud of the answer's image came within {CLOUD_LIMIT_S:g} s")
        return cloud


def main() -> int:
    arguments = remove_ros_args(sys.argv)
    if len(arguments) != 2:
        print(__doc__)
        return 2
    try:
        interfaces = importlib.import_module("isaac_ros_graspgenx_interfaces.action")
    except ImportError:
        print("isaac_ros_graspgenx_interfaces is not installed; it comes with Isaac ROS", file=sys.stderr)
        return 2
    rclpy.init()
    node = GraspClient(interfaces.GenerateGrasps)
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    task = executor.create_task(node.grasps, arguments[1])
    try:
        executor.spin_until_future_complete(task)
        print(task.result())
        return 0
    except Refused as refusal:
        print(f"no grasps: {refusal}")
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

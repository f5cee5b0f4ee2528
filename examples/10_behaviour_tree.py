"""A behaviour tree that asks, acts only on an answer, and asks a person if the answer is unsure.

    pip install py_trees
    python examples/10_behaviour_tree.py "the mug"

The tree, from left to right:

    fetch (selector)
    ├── act (sequence)       ask the node; is the answer `ok`?; go to the target
    ├── ask back (sequence)  is it `unsure`?; ask a person
    └── give up              say why: the status and its reason

`Ask` is running while the node thinks, so the tree is still ticked. Stopping it cancels the question. Replace
`GoToTarget`, which only passes on the target's pose, by a behaviour of your robot.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import py_trees
import rclpy
from geometry_msgs.msg import PoseStamped
from py_trees.behaviour import Behaviour
from py_trees.common import Access, Status
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from reasonseg_ros.action import Segment
from reasonseg_ros.msg import Region, Segmentation

TICK_S = 0.1
SERVER_LIMIT_S = 10.0


class Ask(Behaviour):
    """Asks the question once each time it starts. SUCCESS if a result of any status is on the blackboard."""

    def __init__(self, question: str) -> None:
        super().__init__("ask")
        self._question = question
        self._board = self.attach_blackboard_client(self.name)
        self._board.register_key("answer", access=Access.WRITE)
        self._handle: Any = None
        self._result: Any = None
        self._is_wanted = False

    def setup(self, **arguments: Any) -> None:
        self._asking = ActionClient(arguments["node"], Segment, "/reasonseg/segment")
        # A goal that is sent before the node was found is lost, and the tree would wait for ever.
        if not self._asking.wait_for_server(SERVER_LIMIT_S):
            raise RuntimeError(f"no /reasonseg/segment within {SERVER_LIMIT_S:g} s; start the node, or check its name")

    def initialise(self) -> None:
        self._board.answer = None
        self._handle = self._result = None
        self._is_wanted = True
        self._sent = self._asking.send_goal_async(Segment.Goal(text=self._question))
        self._sent.add_done_callback(self._on_accepted)

    def update(self) -> Status:
        if self._handle is not None and not self._handle.accepted:
            self.feedback_message = "the node does not take goals now"
            return Status.FAILURE
        if self._result is None or not self._result.done():
            return Status.RUNNING
        self._board.answer = self._result.result().result.segmentation
        self.feedback_message = self._board.answer.status
        return Status.SUCCESS

    def terminate(self, new_status: Status) -> None:
        """A question that nobody waits for is cancelled."""
        if new_status == Status.INVALID:
            self._is_wanted = False
            if self._result is not None and not self._result.done():
                self._handle.cancel_goal_async()

    def _on_accepted(self, sent: Any) -> None:
        self._handle = sent.result()
        if self._handle.accepted:
            self._result = self._handle.get_result_async()
            if not self._is_wanted:
                self._handle.cancel_goal_async()


class WithAnswer(Behaviour):
    """A behaviour that reads the answer."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._board = self.attach_blackboard_client(name)
        self._board.register_key("answer", access=Access.READ)

    @property
    def answer(self) -> Segmentation | None:
        """None if the node did not accept the question."""
        answer: Segmentation | None = self._board.answer
        return answer


class HasStatus(WithAnswer):
    """SUCCESS if the answer has this status. Otherwise there is nothing to act on."""

    def __init__(self, status: str) -> None:
        super().__init__(f"is it {status}?")
        self._status = status

    def update(self) -> Status:
        return Status.SUCCESS if self.answer is not None and self.answer.status == self._status else Status.FAILURE


class GoToTarget(WithAnswer):
    """Passes on the pose of the only target that has one. Replace it by your robot's behaviour."""

    def __init__(self) -> None:
        super().__init__("go to the target")

    def setup(self, **arguments: Any) -> None:
        self._goals = arguments["node"].create_publisher(PoseStamped, "goal", 1)

    def update(self) -> Status:
        answer = self.answer
        assert answer is not None
        placed = [region for region in answer.regions if region.has_3d]
        if len(placed) != 1:
            self.feedback_message = f"{len(placed)} targets with a place; expected one"
            return Status.FAILURE
        pose = PoseStamped(header=answer.header, pose=placed[0].box_3d.pose)
        pose.header.frame_id = answer.frame_3d
        self._goals.publish(pose)
        return Status.SUCCESS


class Say(WithAnswer):
    """Prints the result, and ends with the status `ends`."""

    def __init__(self, name: str, ends: Status) -> None:
        super().__init__(name)
        self._ends = ends

    def update(self) -> Status:
        answer = self.answer
        self.feedback_message = "no answer" if answer is None else f"{answer.status}: {answer.error or answer.thought}"
        if answer is not None and answer.has_alternative:
            this, that = (places(regions) for regions in (answer.regions, answer.alternative))
            self.feedback_message += f"; {this}, or {that}?"
        print(f"{self.name}: {self.feedback_message}")
        return self._ends


def places(regions: Sequence[Region]) -> str:
    """Middles of regions in pixels, to point at."""
    middles = [f"({(one.box.x1 + one.box.x2) / 2:.0f}, {(one.box.y1 + one.box.y2) / 2:.0f})" for one in regions]
    return " and ".join(middles) or "nothing"


def make_tree(question: str) -> py_trees.trees.BehaviourTree:
    """The tree of the module's text. `setup` takes the ROS node as `node`."""
    act = py_trees.composites.Sequence("act", memory=True, children=[Ask(question), HasStatus("ok"), GoToTarget()])
    ask_back = py_trees.composites.Sequence(
        "ask back", memory=True, children=[HasStatus("unsure"), Say("a person is asked", Status.SUCCESS)]
    )
    fetch = py_trees.composites.Selector("fetch", memory=True, children=[act, ask_back, Say("gave up", Status.FAILURE)])
    return py_trees.trees.BehaviourTree(fetch)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    rclpy.init()
    node = Node("behaviour_tree")
    tree = make_tree(sys.argv[1])
    try:
        tree.setup(node=node)
        node.create_timer(TICK_S, tree.tick)
        while tree.root.status in (Status.INVALID, Status.RUNNING):
            rclpy.spin_once(node)
        print(py_trees.display.unicode_tree(tree.root, show_status=True))
        return 0 if tree.root.status == Status.SUCCESS else 1
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        tree.root.stop(Status.INVALID)
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

"""The console's ROS client: subscribes to the node's topics, and calls its action and services.

Everything here runs in the executor's thread. Only `ask`, `cancel` and `call` may be called from other threads.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.action import Segment
from reasonseg_ros.console.camera_feed import CameraFeed
from reasonseg_ros.console.image_cache import ImageCache
from reasonseg_ros.console.options import ConsoleOptions
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.ros.inputs.input_topic import InputTopic
from reasonseg_ros.ros.outbox import Outbox

LOOK_S = 1.0
"""Period of checks for the node and its topics."""
SILENT_S = 6.0
"""Maximum age of the last diagnostics. After that the node counts as silent."""
CALL_LIMIT_S = 180.0
"""Maximum wait for a service. It is long because a prompt waits for the running question."""
QUEUE = 50
SERVICES = {
    "prompt": srv.Prompt,
    "clear": Trigger,
    "enable": SetBool,
    "change_state": ChangeState,
    "set_parameters": SetParameters,
}
OUTLIVING = ("change_state", "set_parameters")
"""Services that exist in every lifecycle state. They also answer while the node is configured again."""


class RobotEvents(Protocol):
    """Receives events of the robot. Called in the executor's thread; each must return quickly."""

    def on_image(self) -> None:
        """An image arrived; `ImageCache.newest` returns it."""

    def on_thought(self, message: msg.Reasoning) -> None:
        """More text of a thought, or its end."""

    def on_segmentation(self, message: msg.Segmentation) -> None:
        """An answer, or the masks of an earlier answer propagated to a newer image."""

    def on_diagnostics(self, statuses: list[DiagnosticStatus]) -> None:
        """The node's diagnostics."""

    def on_node(self, problem: str, camera: str) -> None:
        """Called each second and before `on_diagnostics`.

        `problem` says why the node cannot answer; empty if it can. `camera` is the state of the camera's topics.
        """

    def on_ended(self, query_id: str, result: msg.Segmentation | None, error: str) -> None:
        """A question ended with this result, or without one because of `error`."""


class Robot:
    """Client of the node `options.node_name`. It reconnects when the node restarts."""

    def __init__(self, node: Node, options: ConsoleOptions, cache: ImageCache, events: RobotEvents) -> None:
        self._node = node
        self._name = options.node_name
        self._events = events
        self._outbox = Outbox(node)
        self.feed = CameraFeed(node, options, cache, events.on_image)
        self._streams = [
            InputTopic(node, kind, f"{self._name}/{topic}", callback, "auto", QUEUE)
            for topic, kind, callback in (
                ("segmentation", msg.Segmentation, events.on_segmentation),
                ("reasoning", msg.Reasoning, events.on_thought),
            )
        ]
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QUEUE)
        self._action = ActionClient(node, Segment, f"{self._name}/segment")
        self._clients = {name: node.create_client(kind, f"{self._name}/{name}") for name, kind in SERVICES.items()}
        self._heard_s = -SILENT_S
        self._goals: dict[str, Any] = {}
        self._publishers: set[bytes] = set()
        self._calls: dict[Future[Any], tuple[str, float]] = {}
        node.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        self._action.destroy()
        self.feed.destroy()
        for stream in self._streams:
            stream.destroy()

    def ask(self, query_id: str, text: str, mode: str, frames: int) -> None:
        """Ask about the newest image. `on_ended` is called exactly once. From any thread."""
        self._outbox.post(partial(self._ask, query_id, text, mode, frames))

    def cancel(self, query_id: str) -> None:
        """Cancel a question that was asked by `ask`. From any thread."""
        self._outbox.post(partial(self._cancel, query_id))

    def call(self, service: str, request: Any) -> Future[Any]:
        """The response of one of SERVICES. The future raises ReasonSegError if the node is gone. From any thread."""
        future: Future[Any] = Future()
        self._outbox.post(partial(self._call, service, request, future))
        return future

    def _ask(self, query_id: str, text: str, mode: str, frames: int) -> None:
        if not self._action.server_is_ready():
            self._report()
            self._events.on_ended(query_id, None, self._problem())
            return
        self._notice_restart()
        self._goals[query_id] = None
        goal = Segment.Goal(text=text, query_id=query_id, mode=mode, frames=frames)
        self._action.send_goal_async(goal).add_done_callback(partial(self._on_accepted, query_id))

    def _on_accepted(self, query_id: str, future: Any) -> None:
        if query_id not in self._goals:  # the node ended in the meantime
            return
        goal = future.result()
        if not goal.accepted:
            self._end(query_id, None, "the node did not accept the question; ask again")
            return
        self._goals[query_id] = goal
        goal.get_result_async().add_done_callback(
            lambda result: self._end(query_id, result.result().result.segmentation, "")
        )

    def _end(self, query_id: str, result: msg.Segmentation | None, error: str) -> None:
        if query_id in self._goals:
            del self._goals[query_id]
            self._events.on_ended(query_id, result, error)

    def _cancel(self, query_id: str) -> None:
        goal = self._goals.get(query_id)
        if goal is not None:
            goal.cancel_goal_async()

    def _call(self, service: str, request: Any, future: Future[Any]) -> None:
        client = self._clients[service]
        if not client.service_is_ready():
            missing = f"the service {client.srv_name} is not available yet; try again"
            future.set_exception(ReasonSegError(self._problem() or missing))
            return
        self._notice_restart()
        self._calls[future] = service, time.monotonic() + CALL_LIMIT_S
        client.call_async(request).add_done_callback(partial(self._on_response, future))

    def _on_response(self, future: Future[Any], response: Any) -> None:
        if self._calls.pop(future, None) is not None:
            future.set_result(response.result())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        statuses = [status for status in message.status if status.hardware_id == self._name]
        if statuses:
            self._heard_s = time.monotonic()
            self._report()  # diagnostics may come before the action server is found
            self._events.on_diagnostics(statuses)

    def _problem(self) -> str:
        is_heard = time.monotonic() - self._heard_s < SILENT_S
        if self._action.server_is_ready() and is_heard:
            return ""
        if self._action.server_is_ready():
            return f"the node {self._name} has been silent for {SILENT_S:g} s; it is loading its models, or has stopped"
        if is_heard:
            return f"the node {self._name} is starting or stopping; wait a moment"
        domain = self._node.context.get_domain_id()
        return (
            f"no node {self._name} in ROS domain {domain}; start it with `ros2 launch reasonseg_ros "
            "reasonseg.launch.py`, or pass --name"
        )

    def _look(self) -> None:
        with suppress(Exception):  # names of nodes that have just ended
            self.feed.look()
        for stream in self._streams:
            stream.follow_publishers()
        self._notice_restart()
        if not self._action.server_is_ready():
            self._give_up(f"the node {self._name} ended before it answered; see its log")
        for future in [future for future, (_, limit_s) in self._calls.items() if time.monotonic() > limit_s]:
            self._fail(future, f"no answer from the node {self._name} within {CALL_LIMIT_S:g} s")
        self._report()

    def _report(self) -> None:
        self._events.on_node(self._problem(), self.feed.describe())

    def _notice_restart(self) -> None:
        """End what an earlier process of the node was asked. A new publisher shows that the node has restarted."""
        publishers = set(self._streams[0].publishers())
        if self._publishers and publishers - self._publishers:
            self._give_up(f"the node {self._name} restarted before it answered; ask again", but=OUTLIVING)
        self._publishers = publishers or self._publishers

    def _give_up(self, reason: str, but: Collection[str] = ()) -> None:
        for query_id in list(self._goals):
            self._end(query_id, None, reason)
        for future, (service, _) in list(self._calls.items()):
            if service not in but:
                self._fail(future, reason)

    def _fail(self, future: Future[Any], reason: str) -> None:
        del self._calls[future]
        future.set_exception(ReasonSegError(reason))

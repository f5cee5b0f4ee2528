"""Asks a running node: one goal of `~/segment`, its thought as it grows, and its answer in a few lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import rclpy
from rclpy.action import ActionClient, get_action_server_names_and_types_by_node
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage

from reasonseg_ros.action import Segment
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.images.files import write_image
from reasonseg_ros.images.messages import frame_from_message
from reasonseg_ros.msg import Region, Segmentation
from reasonseg_ros.ros.client.answer_pictures import AnswerPictures
from reasonseg_ros.ros.twins import REMEDY, count_named
from reasonseg_ros.types import Status

TICK_S = 0.05
OVERLAY_WAIT_S = 3.0
"""Wait for the overlay of an answer, which is published right after it."""
CANCEL_WAIT_S = 5.0
GONE_S = 3.0
"""A node whose action server is missing for this long has ended."""
TWIN_WAIT_S = 0.5
"""Time to find another node of the same name, once the first is known."""
MOST_LINES = 12
"""Maximum number of printed regions."""


def ask_node(question: str, name: str, wait_s: float, out: Path | None, screen: TextIO) -> int:
    """Ask the node `name` about its newest image and print the answer to `screen`.

    Streams the thought, then prints status, regions with box and position, and the time. Writes the overlay to `out`.
    Ctrl-C cancels the question. Returns 0 for an answer, 1 for any other status.

    Raises ReasonSegError if no such node is found within `wait_s` seconds, or if it ends meanwhile.
    """
    with _connection(name) as client:
        client.wait_for_node(wait_s)
        try:
            answer = client.ask(question, screen, overlay=out is not None)
        except KeyboardInterrupt:
            client.cancel()
            raise
        for line in answer_lines(answer):
            print(line, file=screen)
        if out is not None:
            client.save_overlay(answer, out)
            print(f"overlay    {out}", file=screen)
    return 0 if Status(answer.status).is_answer else 1


def answer_lines(answer: Segmentation) -> list[str]:
    """Status with its reason, one line for each region, and the time taken."""
    lines = [f"status     {answer.status}" + (f": {answer.error}" if answer.error else "")]
    if answer.has_confidence:
        lines.append(f"confidence {answer.confidence:.2f}")
    for region in answer.regions[:MOST_LINES]:
        lines.append(f"region {region.id:<3} {_region_text(region, answer.frame_3d)}")
    if len(answer.regions) > MOST_LINES:
        lines.append(f"           and {len(answer.regions) - MOST_LINES} more regions")
    if answer.regions and answer.warning_3d:
        lines.append(f"no 3D      {answer.warning_3d}" if not answer.frame_3d else f"3D         {answer.warning_3d}")
    stages = f"reasoning {answer.reasoning_s:.2f} s, segmenting {answer.segmenting_s:.2f} s"
    lines.append(f"time       {answer.total_s:.2f} s ({stages})")
    return lines


def _region_text(region: Region, frame_3d: str) -> str:
    box = region.box
    parts = [region.label] if region.label else []
    parts.append(f"box {box.x1:.0f},{box.y1:.0f} to {box.x2:.0f},{box.y2:.0f} px")
    parts.append(f"mask score {region.mask_score:.2f}")
    if region.has_3d:
        center, size = region.box_3d.pose.position, region.box_3d.size
        parts.append(f"center {center.x:.3f}, {center.y:.3f}, {center.z:.3f} m in {frame_3d}")
        parts.append(f"size {size.x:.3f} x {size.y:.3f} x {size.z:.3f} m")
    elif region.error_3d:
        parts.append(f"no 3D: {region.error_3d}")
    return ", ".join(parts)


class _Client:
    def __init__(self, node: Node, executor: SingleThreadedExecutor, name: str) -> None:
        self._node, self._executor, self._name = node, executor, name
        self._action = ActionClient(node, Segment, f"{name}/segment")
        self._pictures = AnswerPictures()
        self._sent: Any = None

    def wait_for_node(self, wait_s: float) -> None:
        if self._spin_until(self._action.server_is_ready, wait_s):
            self._spin_until(lambda: count_named(self._node, self._name) > 1, TWIN_WAIT_S)
            check_alone(self._node, self._name)
            return
        raise ReasonSegError(absence(self._node, self._name, wait_s))

    def ask(self, question: str, screen: TextIO, overlay: bool) -> Segmentation:
        if overlay:
            topic = f"{self._name}/overlay/compressed"
            self._node.create_subscription(CompressedImage, topic, self._pictures.keep, QoSProfile(depth=5))
            self._spin_until(lambda: self._node.count_publishers(topic) > 0, OVERLAY_WAIT_S)
        thought = _Growing(screen)
        self._sent = self._action.send_goal_async(
            Segment.Goal(text=question), feedback_callback=lambda message: thought.show(message.feedback.thought)
        )
        self._wait_for(self._sent)
        goal = self._sent.result()
        if not goal.accepted:
            raise ReasonSegError(f"the node {self._name} did not accept the question")
        result = goal.get_result_async()
        self._wait_for(result)
        answer: Segmentation = result.result().result.segmentation
        thought.show(answer.thought)
        thought.end()
        return answer

    def cancel(self) -> None:
        """Cancel the question and give the node a moment to confirm it.

        A question that the node has not accepted yet may already be running, so wait for its acceptance first.
        """
        if self._sent is None or not self._spin_until(self._sent.done, CANCEL_WAIT_S):
            return
        goal = self._sent.result()
        if goal.accepted:
            self._spin_until(goal.cancel_goal_async().done, CANCEL_WAIT_S)

    def save_overlay(self, answer: Segmentation, out: Path) -> None:
        if not self._spin_until(lambda: self._pictures.of(answer) is not None, OVERLAY_WAIT_S):
            raise ReasonSegError(f"no overlay came within {OVERLAY_WAIT_S:g} s; the answer above has no picture")
        write_image(out, frame_from_message(self._pictures.of(answer)).rgb)

    def destroy(self) -> None:
        self._action.destroy()

    def _wait_for(self, future: Any) -> None:
        """Spin until the future is done. Raises ReasonSegError if the node ends before."""
        seen_s = time.monotonic()
        while not self._spin_until(future.done, 0.5):
            if self._action.server_is_ready():
                seen_s = time.monotonic()
            elif time.monotonic() - seen_s > GONE_S:
                raise ReasonSegError(f"the node {self._name} ended before it answered; see its log")

    def _spin_until(self, done: Callable[[], bool], limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while not (reached := done()) and time.monotonic() < deadline_s:
            self._executor.spin_once(timeout_sec=TICK_S)
        return reached


def check_alone(node: Node, name: str) -> None:
    """Raises ReasonSegError if several nodes have that name, because each of them would answer."""
    if (count := count_named(node, name)) > 1:
        raise ReasonSegError(f"{count} nodes have the name {name}, and each would answer; {REMEDY}")


def absence(node: Node, name: str, wait_s: float) -> str:
    """The error that no node of that name answers, with the running ones, or how to start one."""
    if found := _running_nodes(node):
        remedy = f"running: {', '.join(found)} (choose one with --name)"
    else:
        domain = node.context.get_domain_id()
        remedy = f"none runs in ROS domain {domain}; start it with `ros2 launch reasonseg_ros reasonseg.launch.py`"
    return f"no node {name} answered within {wait_s:g} s; {remedy}"


def _running_nodes(node: Node) -> list[str]:
    """Full names of the nodes that serve the action."""
    found = []
    for name, namespace in node.get_node_names_and_namespaces():
        with suppress(NodeNameNonExistentError):  # it has just exited
            servers = get_action_server_names_and_types_by_node(node, name, namespace)
            if any("reasonseg_ros/action/Segment" in types for _, types in servers):
                found.append(f"{namespace.rstrip('/')}/{name}")
    return sorted(found)


class _Growing:
    """Prints a growing text without repeating what is on the screen."""

    def __init__(self, screen: TextIO) -> None:
        self._screen = screen
        self._shown = ""

    def show(self, text: str) -> None:
        # The final text may differ from the draft.
        new = text[len(self._shown) :] if text.startswith(self._shown) else f"\n{text}"
        self._shown = text
        self._screen.write(new)
        self._screen.flush()

    def end(self) -> None:
        if self._shown:
            self._screen.write("\n")


@contextmanager
def _connection(name: str) -> Iterator[_Client]:
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("reasonseg_ask", context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    client = _Client(node, executor, "/" + name.strip("/"))
    try:
        yield client
    finally:
        client.destroy()
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()

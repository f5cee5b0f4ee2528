"""The client of the demo: shows the next image, sends a question, and collects the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

from reasonseg_ros.bags import BagWriter, header_stamp_ns, raw_stamp_ns
from reasonseg_ros.bags.topics import CAMERA_INFO_TOPIC, IMAGE_TOPIC, QUERY_TOPIC
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.images.jpeg_comment import comment_of
from reasonseg_ros.msg import Query, Reasoning, Segmentation
from reasonseg_ros.ros.playing.holding import NEXT_SERVICE
from reasonseg_ros.ros.playing.publishers import message_class
from reasonseg_ros.types import Status

ACTIVE = State.PRIMARY_STATE_ACTIVE

NODE = "/reasonseg"
REASONING_TOPIC = f"{NODE}/reasoning"
SEGMENTATION_TOPIC = f"{NODE}/segmentation"
OVERLAY_TOPIC = f"{NODE}/overlay/compressed"
"""Its JPEGs name their question. Those of `~/overlay` do not, and several answers may be about one image."""

START_LIMIT_S = 180.0
ACTIVE_LIMIT_S = 5.0
"""Maximum wait for the state `active` after the first reply. The node replies only when it has tried to activate."""

STATE_AGAIN_S = 5.0
"""The node's state is requested again after this time. Fast DDS drops a reply if the service discovers the client's
reader too late (https://github.com/ros2/rmw_fastrtps/issues/842), which is likely on a busy machine."""

ANSWER_LIMIT_S = 180.0
"""Long, because on two busy cores llm_seg took more than 60 s for a question. A dead node ends the demo at once."""
OVERLAY_LIMIT_S = 3.0
ASK_AGAIN_S, ASK_AGAIN_LIMIT_S = 0.3, 15.0
"""Pause and time limit for asking again after an answer about another image. The node may discover a new player later
than this process does."""

TICK_S = 0.05
SETTLE_S = 0.3
"""Time for the node to receive an image that has already arrived here."""
DISCOVERY_S = 1.0
"""Time for the node to discover our subscriptions, after we discovered its publishers."""


class DemoClient:
    """Communicates with the node and the player by topics and services only, and records all messages.

    Use it in a `with` statement. `check` is called during every wait, and raises if a process has died. `masks` holds
    every answer, by question id and image stamp.
    """

    def __init__(self, recorder: BagWriter, check: Callable[[], None]) -> None:
        self._recorder = recorder
        self._check = check
        self._image_stamp_ns = -1
        self._recorded: set[tuple[str, int]] = set()
        self._asked: set[str] = set()
        self._answers: dict[str, Segmentation] = {}
        self.masks: dict[tuple[str, int], Segmentation] = {}
        self._overlays: dict[tuple[str, int], CompressedImage] = {}
        self._on_reasoning: Callable[[Reasoning], None] = lambda _: None
        self.camera_types = {IMAGE_TOPIC: "sensor_msgs/msg/Image", CAMERA_INFO_TOPIC: "sensor_msgs/msg/CameraInfo"}

    def __enter__(self) -> DemoClient:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("demo_client")
        quality = QoSProfile(depth=20)
        for topic, kind in self.camera_types.items():
            self._node.create_subscription(
                message_class(kind), topic, lambda data, topic=topic: self._on_camera(topic, data), quality, raw=True
            )
        self._node.create_subscription(Reasoning, REASONING_TOPIC, self._on_thought, quality, raw=True)
        self._node.create_subscription(Segmentation, SEGMENTATION_TOPIC, self._on_answer, quality, raw=True)
        self._node.create_subscription(CompressedImage, OVERLAY_TOPIC, self._on_overlay, quality)
        self._queries = self._node.create_publisher(Query, QUERY_TOPIC, quality)
        self._get_state = self._node.create_client(GetState, f"{NODE}/get_state")
        self._next_image = self._node.create_client(Trigger, NEXT_SERVICE)
        return self

    def __exit__(self, *_: object) -> None:
        self._node.destroy_node()
        rclpy.shutdown()

    def wait_until_active(self) -> None:
        """Wait until the node is active and images arrive. Raises ReasonSegError after START_LIMIT_S."""
        self._wait(self._get_state.service_is_ready, START_LIMIT_S, "the node's services did not appear")
        deadline_s = None
        while (state := self._state()).id != ACTIVE:
            deadline_s = deadline_s or time.monotonic() + ACTIVE_LIMIT_S
            if time.monotonic() > deadline_s:
                raise ReasonSegError(f"the node is {state.label}, not active")
            self._spin(0.2)
        self._wait(lambda: self._image_stamp_ns >= 0, START_LIMIT_S, "no image arrived from the player")
        self._wait(
            lambda: self._queries.get_subscription_count() > 0,
            START_LIMIT_S,
            "the node does not subscribe to questions",
        )
        for topic in (SEGMENTATION_TOPIC, REASONING_TOPIC, OVERLAY_TOPIC):
            self._wait(partial(self._has_publisher, topic), START_LIMIT_S, f"{topic} has no publisher")
        self._spin(DISCOVERY_S)

    def show(self, stamp_ns: int) -> None:
        """Step the player until it publishes the image with that stamp. Raises ReasonSegError if there is none."""
        while self._image_stamp_ns < stamp_ns:
            reply = self._call(self._next_image, Trigger.Request())
            if not reply.success:
                raise ReasonSegError(f"the bag has no image of stamp {stamp_ns}")
            held_ns = int(reply.message)
            self._wait(partial(self._has_image, held_ns), ANSWER_LIMIT_S, "no image arrived")
        self._spin(SETTLE_S)

    def ask(
        self, query_id: str, text: str, stamp_ns: int, on_reasoning: Callable[[Reasoning], None]
    ) -> tuple[Segmentation, CompressedImage | None]:
        """The node's answer about the image with that stamp, and its overlay if one arrives.

        Raises ReasonSegError if there is no answer, or only answers about other images.
        """
        self._on_reasoning = on_reasoning
        self._overlays.clear()
        answer = self.first_answer(Query(query_id=query_id, text=text, mode=Query.ONCE), {stamp_ns})
        if header_stamp_ns(answer.header) != stamp_ns:
            return answer, None
        picture = (query_id, stamp_ns)
        self._spin(OVERLAY_LIMIT_S, until=lambda: picture in self._overlays)
        return answer, self._overlays.get(picture)

    def first_answer(self, query: Query, stamps_ns: Collection[int]) -> Segmentation:
        """The node's next answer, in any mode, about one of these images. It may be a failure.

        Raises ReasonSegError if there is no answer, or only answers about other images.
        """
        deadline_s = time.monotonic() + ASK_AGAIN_LIMIT_S
        while True:
            self._asked.add(query.query_id)
            self._answers.pop(query.query_id, None)
            self._queries.publish(query)
            self._record(QUERY_TOPIC, "reasonseg_ros/msg/Query", serialize_message(query))
            self._wait(lambda: query.query_id in self._answers, ANSWER_LIMIT_S, f"no answer to {query.text!r}")
            answer = self._answers[query.query_id]
            status = Status(answer.status)
            is_of_an_image = status.is_answer or status in (Status.NO_FRAME, Status.UNSURE)
            if header_stamp_ns(answer.header) in stamps_ns or not is_of_an_image:
                return answer
            if time.monotonic() > deadline_s:
                raise ReasonSegError(f"the answers to {query.text!r} belong to other images than the shown one")
            self._spin(ASK_AGAIN_S)

    def restart(self) -> None:
        """Wait for the first image of another player."""
        self._image_stamp_ns = -1
        self._wait(lambda: self._image_stamp_ns >= 0, START_LIMIT_S, "no image arrived from the player")
        self._spin(SETTLE_S)

    def run(self, stamps_ns: Sequence[int], query_id: str) -> dict[int, CompressedImage]:
        """Step the player through these images at their recorded pace. Returns that question's overlays, by stamp."""
        self._overlays.clear()
        start_s = time.monotonic()
        for stamp_ns in stamps_ns:
            self._spin(start_s + (stamp_ns - stamps_ns[0]) / 1e9 - time.monotonic())
            self._call(self._next_image, Trigger.Request())
        self._spin(OVERLAY_LIMIT_S, until=lambda: (query_id, stamps_ns[-1]) in self._overlays)
        return {stamp_ns: overlay for (one_id, stamp_ns), overlay in self._overlays.items() if one_id == query_id}

    def _on_camera(self, topic: str, data: bytes) -> None:
        stamp_ns = raw_stamp_ns(data)
        if topic == IMAGE_TOPIC:
            self._image_stamp_ns = stamp_ns
        if (topic, stamp_ns) not in self._recorded:
            self._recorded.add((topic, stamp_ns))
            self._record(topic, self.camera_types[topic], data)

    def _on_thought(self, data: bytes) -> None:
        message = deserialize_message(data, Reasoning)
        if message.query_id in self._asked:  # others come from a process that joined this ROS domain later
            self._record(REASONING_TOPIC, "reasonseg_ros/msg/Reasoning", data)
            self._on_reasoning(message)

    def _on_answer(self, data: bytes) -> None:
        message = deserialize_message(data, Segmentation)
        if message.query_id in self._asked:
            self._record(SEGMENTATION_TOPIC, "reasonseg_ros/msg/Segmentation", data)
            self._answers[message.query_id] = message
            self.masks[message.query_id, header_stamp_ns(message.header)] = message

    def _on_overlay(self, message: CompressedImage) -> None:
        if (query_id := comment_of(bytes(message.data))) in self._asked:
            self._overlays[query_id, header_stamp_ns(message.header)] = message

    def _record(self, topic: str, kind: str, data: bytes) -> None:
        self._recorder.write_raw(topic, kind, data, time.time_ns())

    def _has_publisher(self, topic: str) -> bool:
        return bool(self._node.count_publishers(topic))

    def _has_image(self, stamp_ns: int) -> bool:
        return self._image_stamp_ns >= stamp_ns

    def _state(self) -> State:
        """The node's state, from the first reply that arrives. A node does not reply while it loads models."""
        start_s = time.monotonic()
        replies: list[Any] = []

        def has_replied() -> bool:
            if time.monotonic() >= start_s + len(replies) * STATE_AGAIN_S:
                replies.append(self._get_state.call_async(GetState.Request()))
            return any(reply.done() for reply in replies)

        self._wait(has_replied, START_LIMIT_S, f"service {self._get_state.srv_name} did not answer")
        for reply in replies:
            self._get_state.remove_pending_request(reply)
        return next(reply.result().current_state for reply in replies if reply.done())

    def _call(self, client: Any, request: Any) -> Any:
        self._wait(client.service_is_ready, START_LIMIT_S, f"service {client.srv_name} did not appear")
        future = client.call_async(request)
        self._wait(future.done, START_LIMIT_S, f"service {client.srv_name} did not answer")
        return future.result()

    def _spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        deadline_s = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline_s:
            rclpy.spin_once(self._node, timeout_sec=TICK_S)

    def _wait(self, done: Callable[[], bool], limit_s: float, complaint: str) -> None:
        deadline_s = time.monotonic() + limit_s
        while not done():
            self._check()
            if time.monotonic() > deadline_s:
                raise ReasonSegError(
                    f"{complaint} within {limit_s:.0f} s; see its log, or try again on a less busy machine"
                )
            rclpy.spin_once(self._node, timeout_sec=TICK_S)

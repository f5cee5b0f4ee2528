"""The user of the soak: asks, cancels, toggles and reconfigures at random, and records how every question ends."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from reasonseg_ros.action import Segment
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg

TEXTS = (
    "the red thing", "something to drink from", "the tallest object", "something to drive a nail in with",
    "what fell over?", "the robot arm", "the unicorn", "the leftmost cup",
)  # fmt: skip
BAD_TEXTS = ("", "x" * 3000, "bell \x07")
SETTINGS: tuple[tuple[str, Any], ...] = (
    ("query.policy", "queue"), ("query.policy", "queue"), ("query.policy", "replace"), ("query.policy", "refuse"),
    ("query.watch_period_s", 1.0), ("query.watch_period_s", 5.0), ("query.watch_change", 0.05),
    ("query.watch_change", 0.0), ("query.ask_again", 0), ("query.ask_again", 2), ("query.prepare", "idle"),
    ("query.prepare", "never"), ("stream.carry", True), ("stream.carry", False), ("stream.catch_up_s", 0.1),
    ("stream.catch_up_s", 1.0), ("stream.follow_watched", True), ("stream.follow_watched", False),
    ("output.mask_encoding", "png"), ("output.mask_encoding", "rle"), ("segmenter.keep_raw_mask", True),
    ("segmenter.keep_raw_mask", False), ("reasoner.time_limit_s", 5.0), ("reasoner.time_limit_s", 60.0),
    ("query.queue_size", 4), ("query.queue_size", 8), ("no.such", 1), ("query.queue_size", -1),
)  # fmt: skip
ACTIONS = {
    "ask": 40, "send a goal": 30, "cancel a goal": 8, "change a setting": 8, "clear": 3, "disable and enable": 3,
    "deactivate and activate": 2, "ask twenty at once": 1, "clean up and configure": 1,
}  # fmt: skip
LONGEST_PAUSE_S = 4.0
ANSWER_S = 120.0
"""Maximum time of a service call, also on a busy machine."""
CLEAR_AGAIN_S = 5.0
LONGEST_STEP_S = 2.0
"""Maximum step of `User.awake_s`. In a longer one the processes or the machine were suspended."""
RECONFIGURE_S = 90.0
"""Minimum time between two loads of the models."""
GOAL_STATUS = {4: "succeeded", 5: "canceled", 6: "aborted"}


@dataclass
class Question:
    """`way` is how and in which mode it was asked; `ended` is how it ended, empty while it runs."""

    way: str
    mode: str
    frames: int
    ended: str = ""
    answers: int = 0
    last: str = ""
    handle: Any = field(default=None, repr=False)


class User(Node):
    """Spins itself. Not for use by several threads.

    `awake_s` is its clock: seconds of spinning, without those in which it was suspended.
    """

    def __init__(self, context: Context, rng: random.Random) -> None:
        super().__init__("soak_user", context=context)
        self.rng = rng
        self.questions: dict[str, Question] = {}
        self.actions: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.loads = 1
        self.may_load_again = True
        self.awake_s = self.loaded_s = 0.0
        self._spun_s = time.monotonic()
        self.received = self.segmentations = self.carried = self.followed = self.in_space = 0
        self._values: dict[str, str] = {}
        self._spinner = SingleThreadedExecutor(context=context)
        self._spinner.add_node(self)
        quality = QoSProfile(depth=1000)
        self._queries = self.create_publisher(msg.Query, "reasonseg/query", quality)
        self.create_subscription(msg.Segmentation, "reasonseg/segmentation", self._on_segmentation, quality)
        self.create_subscription(Image, "reasonseg/overlay", lambda _: None, quality)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, quality)
        self._goals = ActionClient(self, Segment, "reasonseg/segment")
        kinds = {"clear": Trigger, "enable": SetBool, "set_parameters": SetParameters, "change_state": ChangeState}
        self._callers = {name: self.create_client(kind, f"reasonseg/{name}") for name, kind in kinds.items()}

    @property
    def open(self) -> list[str]:
        return [f"{name}: {question}" for name, question in self.questions.items() if not question.ended]

    def wait_for_node(self, limit_s: float, are_running: Callable[[], bool]) -> None:
        """Wait until the node is active and receives images. Raises TimeoutError, at once if a process has ended."""

        def is_active() -> bool:
            if not are_running():
                raise TimeoutError("the node or the camera ended before the node was active")
            return self._values.get("state") == "active" and self.received > 0

        self._until(is_active, limit_s, "an active node")
        self._until(lambda: self._goals.server_is_ready() and self._queries.get_subscription_count(), 30.0, "services")
        self.loaded_s = self.awake_s

    def act(self) -> None:
        """Do something at random, then rest a while."""
        (action,) = self.rng.choices(list(ACTIONS), weights=list(ACTIONS.values()))
        if action == "clean up and configure" and not self._is_time_to_load():
            action = "ask"
        self.actions[action] += 1
        if action == "ask":
            self._ask()
        elif action == "send a goal":
            self._send_goal()
        elif action == "cancel a goal":
            self._cancel_a_goal()
        elif action == "change a setting":
            name, value = self.rng.choice(SETTINGS)
            parameter = Parameter(name, value=value).to_parameter_msg()
            self._call("set_parameters", SetParameters.Request(parameters=[parameter]))
        elif action == "clear":
            self._call("clear", Trigger.Request())
        elif action == "disable and enable":
            self._call("enable", SetBool.Request(data=False))
            self.watch(self.rng.uniform(0.1, 3.0))
            self._call("enable", SetBool.Request(data=True))
        elif action == "ask twenty at once":
            for _ in range(20):
                self._ask()
        else:
            self._restart(with_models=action == "clean up and configure")
        self.watch(self.rng.uniform(0.0, LONGEST_PAUSE_S))

    def finish(self, limit_s: float) -> list[str]:
        """End everything. Returns the questions without an end."""
        self._call("enable", SetBool.Request(data=True))
        self.rest(limit_s)
        deadline_s = self.awake_s + limit_s
        while self.open and self.awake_s < deadline_s:
            self.watch(0.5)
            for question in self.questions.values():
                # The node is idle, so it will not ask about a lost target again.
                if not question.ended and question.last == "lost":
                    question.ended = "lost"
        return self.open

    def rest(self, limit_s: float) -> bool:
        """Clear everything until the node reports that it is idle. Questions that arrive meanwhile are cleared as well.

        Returns False, and records a fault, if it takes too long.
        """
        deadline_s = self.awake_s + limit_s
        while self.awake_s < deadline_s:
            self._call("clear", Trigger.Request())
            self._values.clear()  # what arrives from now on belongs to the time after
            again_s = self.awake_s + CLEAR_AGAIN_S
            while self.awake_s < again_s:
                self.watch(0.1)
                if self._is_idle():
                    return True
        self.wrong.append(f"cleared, and still busy: {self._values}")
        return False

    def watch(self, seconds: float) -> None:
        """Only receive for `seconds`."""
        deadline_s = self.awake_s + seconds
        while self.awake_s < deadline_s:
            self._spin_once()

    @property
    def kept_mb(self) -> float:
        """Memory of the images that the node keeps for late answers, as last reported, MB."""
        return float(self._values.get("images kept, MB", 0.0))

    def _is_idle(self) -> bool:
        counts = (self._values.get(name) for name in ("waiting", "standing", "followed"))
        return self._values.get("running") == "" and all(count == "0" for count in counts)

    def _draw(self, way: str) -> tuple[str, Question]:
        mode = self.rng.choice(("once", "once", "once", "track", "track", "watch", "history"))
        frames = {"track": self.rng.randint(1, 40), "watch": self.rng.randint(1, 6)}.get(mode, 0)
        name = f"{way}{len(self.questions)}"
        self.questions[name] = Question(f"{way}, {mode}", mode, frames)
        return name, self.questions[name]

    def _text(self) -> str:
        return self.rng.choice(BAD_TEXTS if self.rng.random() < 0.03 else TEXTS)

    def _ask(self) -> None:
        name, question = self._draw("topic")
        self._queries.publish(msg.Query(text=self._text(), query_id=name, mode=question.mode, frames=question.frames))

    def _send_goal(self) -> None:
        name, question = self._draw("goal")
        goal = Segment.Goal(text=self._text(), query_id=name, mode=question.mode, frames=question.frames)
        if question.mode == "once" and self.rng.random() < 0.2:
            goal.image = Image(height=48, width=64, encoding="mono8", step=64, data=bytes(64 * 48))
        if self.rng.random() < 0.1:
            goal.max_new_tokens = 5
        if self.rng.random() < 0.1:
            goal.time_limit_s = 0.2
        sent = self._goals.send_goal_async(goal)
        sent.add_done_callback(lambda future: self._on_accepted(question, future.result()))

    def _on_accepted(self, question: Question, handle: Any) -> None:
        if not handle.accepted:
            question.ended = "rejected"
            return
        question.handle = handle
        handle.get_result_async().add_done_callback(lambda future: self._on_result(question, future.result()))

    def _on_result(self, question: Question, result: Any) -> None:
        status = result.result.segmentation.status
        if question.ended:
            self.wrong.append(f"a second end: {question}, {status}")
        question.ended, question.handle = f"{GOAL_STATUS.get(result.status, result.status)}, {status}", None
        if not status:
            self.wrong.append(f"a goal's result has no status: {question}")

    def _cancel_a_goal(self) -> None:
        handles = [question.handle for question in self.questions.values() if question.handle is not None]
        if handles:
            self.rng.choice(handles).cancel_goal_async()

    def _restart(self, with_models: bool) -> None:
        """Deactivate and activate. Optionally load the models again in between."""
        self._wait_until_read()
        labels = ("deactivate", "cleanup", "configure", "activate") if with_models else ("deactivate", "activate")
        for label in labels:
            request = ChangeState.Request()
            request.transition.label = label
            if not self._call("change_state", request).success:
                self.wrong.append(f"{label} failed")
            self.watch(0.5)  # a destroyed publisher sends nothing more
            self._send_goal()  # which is answered in every state
        self._until(lambda: self._queries.get_subscription_count(), 30.0, "the node's topics")
        if with_models:
            self.loads, self.loaded_s = self.loads + 1, self.awake_s

    def _is_time_to_load(self) -> bool:
        return self.may_load_again and self.awake_s > self.loaded_s + RECONFIGURE_S

    def _wait_until_read(self) -> None:
        """Wait until the node has read every question on the topic. An inactive node publishes nothing there."""
        name, question = self._draw("topic")
        self._queries.publish(msg.Query(text="", query_id=name))  # refused as soon as it is read
        self._until(lambda: question.ended, ANSWER_S, "the end of an empty question")

    def _on_segmentation(self, message: msg.Segmentation) -> None:
        self.segmentations += 1
        question = self.questions.get(message.query_id)
        if question is None:
            self.wrong.append(f"an answer to {message.query_id!r}, which nobody asked")
            return
        status = message.status
        question.answers, question.last = question.answers + 1, status
        self.carried += message.reasoned_stamp != message.header.stamp and message.reasoned_stamp.sec > 0
        self.followed += any(region.track_state == "tracked" for region in message.regions)
        self.in_space += any(region.has_3d for region in message.regions)
        if status not in ("ok", "no_target"):
            self.reasons[f"{status}: {message.error[:60]}"] += 1
            if not message.error:
                self.wrong.append(f"no reason for {status}: {question}")
        may_have_regions = status in ("ok", "unsure")  # unsure without any: nothing fits, perhaps
        if bool(message.regions) > may_have_regions or (status == "ok" and not message.regions):
            self.wrong.append(f"{status} with {len(message.regions)} regions: {question}")
        if not question.way.startswith("topic"):
            return
        if question.ended:
            self.wrong.append(f"{status} after its end: {question}")
        elif self._is_last(question, status):
            question.ended = status

    @staticmethod
    def _is_last(question: Question, status: str) -> bool:
        if question.mode not in ("track", "watch") or status in ("cancelled", "refused"):
            return True
        # A target that is tracked may be out of sight for a while.
        goes_on = status in ("ok", "lost") or (status == "empty_mask" and question.answers > 1)
        return question.answers == question.frames or (question.mode == "track" and not goes_on)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # Node and known picture both have a state.
        seen = (status for status in message.status if not status.name.endswith("known picture"))
        self._values = {pair.key: pair.value for status in seen for pair in status.values}
        for status in message.status:
            if status.name.endswith(": camera"):
                values = {pair.key: pair.value for pair in status.values}
                self.received = int(values["received"])

    def _call(self, name: str, request: Any) -> Any:
        future = self._callers[name].call_async(request)
        self._until(future.done, ANSWER_S, f"an answer of {name}")
        return future.result()

    def _until(self, done: Callable[[], Any], limit_s: float, what: str) -> None:
        deadline_s = self.awake_s + limit_s
        while not done():
            if self.awake_s > deadline_s:
                raise TimeoutError(f"no sign of {what} within {limit_s:g} s")
            self._spin_once()

    def _spin_once(self) -> None:
        self._spinner.spin_once(timeout_sec=0.05)
        now_s = time.monotonic()
        self.awake_s += min(now_s - self._spun_s, LONGEST_STEP_S)
        self._spun_s = now_s

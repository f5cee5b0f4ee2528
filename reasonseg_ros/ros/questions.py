"""How the node is asked (topics, services, the action), and how answers return."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.action import Segment
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images import messages as images
from reasonseg_ros.live.questions import NoSegmentation, Outcome, Question, failed_outcome
from reasonseg_ros.plain_text import check_plain, one_line, plain_text
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.ros.conversion import groundings_from, partial_reasoning_message
from reasonseg_ros.ros.diagnostics import QuestionHealth
from reasonseg_ros.ros.inputs.input_topic import subscribe
from reasonseg_ros.ros.outbox import Outbox
from reasonseg_ros.ros.publishing.answers import in_space, messages_of
from reasonseg_ros.ros.session import Session
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Frame, Mode, Query, Status

STREAM_PERIOD_S = 0.1
"""Minimum time between two messages of a growing thought."""
RESULT_KEPT_S = 60
"""How long a goal's result with its masks is kept for clients that request it late."""
CALLS_DEPTH = 1000
"""Maximum number of goals, cancels and service calls that may arrive at once."""


class Questions:
    """Passes questions to the worker and publishes its answers.

    Attributes:
        session: answers and publishes; None while the node is not configured.
    """

    def __init__(self, node: Node, settings: Settings, health: QuestionHealth, outbox: Outbox) -> None:
        self.session: Session | None = None
        self._logger = node.get_logger()
        self._settings = settings
        self._health = health
        self._outbox = outbox
        self._numbers = itertools.count(1)
        self._goals: dict[bytes, Question] = {}
        self._unanswered = 0
        # An asynchronous callback holds its group until the worker is done, so its calls must be able to overlap.
        overlapping = ReentrantCallbackGroup()
        quality = QoSProfile(depth=CALLS_DEPTH)
        # Keeps all: the publisher waits instead of dropping the oldest, and losses are counted.
        all_kept = QoSProfile(history=HistoryPolicy.KEEP_ALL)
        services = {"qos_profile": quality, "callback_group": overlapping}
        subscribe(node, msg.Query, "~/query", self._on_query, all_kept, partial(self._on_lost, "query"))
        subscribe(node, String, "~/query_text", self._on_query_text, all_kept, partial(self._on_lost, "query_text"))
        node.create_service(Trigger, "~/clear", self._on_clear)
        node.create_service(SetBool, "~/enable", self._on_enable)
        node.create_service(srv.SegmentImage, "~/segment_image", self._on_segment_image, **services)
        node.create_service(srv.Prompt, "~/prompt", self._on_prompt, **services)
        node.create_service(srv.Propose, "~/propose", self._on_propose, **services)
        self._action = ActionServer(
            node,
            Segment,
            "~/segment",
            self._on_goal,
            callback_group=overlapping,
            cancel_callback=self._on_cancel,
            result_timeout=RESULT_KEPT_S,
            goal_service_qos_profile=quality,
            result_service_qos_profile=quality,
            cancel_service_qos_profile=quality,
        )

    @property
    def unanswered(self) -> int:
        """Goals and service calls without an answer yet."""
        return self._unanswered

    def destroy(self) -> None:
        """Destroy the action server, because a node does not destroy it."""
        self._action.destroy()

    def _on_lost(self, name: str, count: int) -> None:
        self._health.lost[f"~/{name}: more came than its queue holds"] += count
        self._logger.warning(f"{count} questions on ~/{name} were lost: more came than its queue holds")

    def _on_query(self, message: msg.Query) -> None:
        self._ask(message.text, query_id=message.query_id, mode=message.mode, frames=message.frames)

    def _on_query_text(self, message: String) -> None:
        self._ask(message.data)

    async def _on_segment_image(
        self, request: srv.SegmentImage.Request, response: srv.SegmentImage.Response
    ) -> srv.SegmentImage.Response:
        _, answered = self._ask(request.text, image=request.image)
        response.segmentation = (await self._result(answered))[1]
        return response

    async def _on_prompt(self, request: srv.Prompt.Request, response: srv.Prompt.Response) -> srv.Prompt.Response:
        prompts = request.boxes, request.points, request.point_labels
        _, answered = self._ask("", image=_image_or_newest(request.image), prompts=prompts)
        response.segmentation = (await self._result(answered))[1]
        return response

    async def _on_propose(self, request: srv.Propose.Request, response: srv.Propose.Response) -> srv.Propose.Response:
        _, answered = self._ask("", image=_image_or_newest(request.image), proposes=True)
        response.segmentation = (await self._result(answered))[1]
        return response

    async def _on_goal(self, goal: ServerGoalHandle) -> Segment.Result:
        wanted = goal.request
        question, answered = self._ask(
            wanted.text,
            query_id=wanted.query_id,
            mode=wanted.mode,
            frames=wanted.frames,
            image=_image_or_newest(wanted.image),
            limits=(wanted.max_new_tokens, wanted.time_limit_s),
            goal=goal,
        )
        identity = bytes(goal.goal_id.uuid)
        self._goals[identity] = question
        if goal.is_cancel_requested and self.session is not None:
            self.session.worker.cancel(question)
        status, segmentation = await self._result(answered)
        del self._goals[identity]
        if status.is_answer:
            goal.succeed()
        elif status is Status.CANCELLED and goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return Segment.Result(segmentation=segmentation)

    async def _result(self, answered: Future) -> tuple[Status, msg.Segmentation]:
        self._unanswered += 1
        try:
            result: tuple[Status, msg.Segmentation] = await answered
        finally:
            self._unanswered -= 1
        return result

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        question = self._goals.get(bytes(goal.goal_id.uuid))
        if question is not None and self.session is not None:
            self.session.worker.cancel(question)
        return CancelResponse.ACCEPT

    def _on_clear(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        count = self.session.worker.clear() if self.session is not None else 0
        response.success, response.message = True, f"{count} questions cleared"
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self.session is not None
        response.message = "enabled" if request.data else "disabled"
        if self.session is None:
            response.message = "the node is not configured; configure it first"
        else:
            self.session.worker.enable(request.data)
        return response

    def _ask(
        self,
        text: str,
        *,
        query_id: str = "",
        mode: str = "",
        frames: int = 0,
        image: Image | None = None,
        prompts: tuple[Any, Any, Any] | None = None,
        proposes: bool = False,
        limits: tuple[int, float] = (0, 0.0),
        goal: ServerGoalHandle | None = None,
    ) -> tuple[Question, Future]:
        """Pass a question to the worker. The future's result is the status and the last published Segmentation.

        `image` None uses the newest camera image. Any problem of the question becomes its status.
        """
        answered = Future()

        def on_outcome(outcome: Outcome) -> None:
            # Still in the worker's thread, where processing depth delays no callback.
            try:
                outcome = in_space(outcome, self._settings.now.points.min_valid_share, self._logger)
            finally:
                self._outbox.post(partial(self._publish, answered, outcome))

        question = Question(Query(text, query_id or f"q{next(self._numbers)}"), on_outcome)
        try:
            if self.session is None or not self.session.is_active:
                raise InvalidInput("the node is not active; configure and activate it")
            check_plain(text, "question")
            check_plain(query_id, "query_id")
            query = replace(question.query, mode=_mode(mode), frames=frames)
            question = replace(question, query=query, call=Call(*limits))
            if image is not None:
                limit = self._settings.now.camera.max_megapixels
                question = replace(question, frame=images.frame_from_message(image, max_megapixels=limit))
            if prompts is not None:
                question = replace(question, groundings=partial(groundings_from, *prompts))
            elif proposes:
                question = replace(question, proposes=True)
            else:
                question = self._with_progress(question, goal)
            self.session.worker.submit(question)
        except InvalidInput as error:
            on_outcome(failed_outcome(question, Status.REFUSED, str(error)))
        except Exception as error:
            on_outcome(failed_outcome(question, Status.FAILED, one_line(f"{type(error).__name__}: {error}")))
        return question, answered

    def _with_progress(self, question: Question, goal: ServerGoalHandle | None) -> Question:
        """The question whose growing thought is published, and sent as feedback of a goal, a few times per second."""
        frame, asked_s, last_s = question.frame, question.asked_s, 0.0

        def on_frame(seen: Frame, seen_asked_s: float) -> None:
            nonlocal frame, asked_s
            frame, asked_s = seen, seen_asked_s

        def on_text(text: str, tokens: int) -> None:
            nonlocal last_s
            if time.monotonic() - last_s >= STREAM_PERIOD_S:
                last_s = time.monotonic()
                make = partial(partial_reasoning_message, question.query, frame, asked_s, plain_text(text), tokens)
                self._outbox.post(partial(self._publish_progress, make, goal))

        call = replace(question.call, on_text=on_text)
        if goal is not None:
            call = replace(call, on_stage=lambda stage: self._outbox.post(partial(_feed_back, goal, stage, "", 0)))
            self._outbox.post(partial(_feed_back, goal, Segment.Feedback.WAITING, "", 0))
        return replace(question, call=call, on_frame=on_frame)

    def _publish_progress(self, make: Callable[[], msg.Reasoning], goal: ServerGoalHandle | None) -> None:
        message = make()
        if self.session is not None:
            self.session.outputs.publish_reasoning(message)
        if goal is not None:
            _feed_back(goal, Segment.Feedback.REASONING, message.thought, message.tokens)

    def _publish(self, answered: Future, outcome: Outcome) -> None:
        config = self._settings.now.output
        if outcome.answer.status is Status.NO_FRAME and self.session is not None:
            error = f"{outcome.answer.error}; {self.session.camera.describe()}"
            outcome = replace(outcome, result=NoSegmentation(replace(outcome.answer, error=error), outcome.frame))
        outcome, message, reasoning = messages_of(outcome, config.mask_encoding, self._logger)
        answer = outcome.answer
        if outcome.is_last:
            answered.set_result((answer.status, message))
        if self.session is not None:
            self.session.outputs.publish(outcome, message, reasoning, config.overlay_alpha)
            self.session.recordings.take(outcome, message, reasoning)
        if outcome.is_repeated:
            return
        self._health.count(outcome)
        line = f"{message.query_id[:40]}: {answer.status} in {outcome.total_s:.2f} s {answer.error}"
        # Two calls, because rclpy binds a line of code to one severity.
        if answer.status.is_answer:
            self._logger.info(line)
        else:
            self._logger.warning(line)


def _mode(name: str) -> Mode:
    try:
        return Mode(name or Mode.ONCE)
    except ValueError:
        raise InvalidInput(f"mode {name[:40]!r}; expected one of {', '.join(Mode)}, or nothing") from None


def _image_or_newest(image: Image) -> Image | None:
    return image if image.height or image.width or len(image.data) else None


def _feed_back(goal: ServerGoalHandle, stage: str, thought: str, tokens: int) -> None:
    if goal.is_active:
        goal.publish_feedback(Segment.Feedback(stage=stage, thought=thought, tokens=int(tokens)))

"""The node's ways to be asked (topics, services, the action), and the way of each answer back."""

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
from rclpy.serialization import serialize_message
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.action import Segment
from reasonseg_ros.config import Config
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images import messages as images
from reasonseg_ros.live.requests import Outcome, Request, failed_outcome
from reasonseg_ros.live.worker import Worker
from reasonseg_ros.plain_text import check_plain, one_line, plain_text
from reasonseg_ros.ros.conversion import (
    groundings_from,
    partial_reasoning_message,
    reasoning_message,
    segmentation_message,
    thought_so_far,
)
from reasonseg_ros.ros.diagnostics import QuestionHealth
from reasonseg_ros.ros.inputs.input_topic import subscribe
from reasonseg_ros.ros.outbox import Outbox
from reasonseg_ros.ros.outputs import Outputs
from reasonseg_ros.space.points import located
from reasonseg_ros.types import Answer, Mode, Query, Status

STREAM_PERIOD_S = 0.1
"""Least time between two messages of a thought that grows."""
RESULT_KEPT_S = 60
"""A goal's result holds masks, and is kept so long for clients that ask for it late."""
CALLS_DEPTH = 1000
"""Goals, cancels and service calls that may arrive at once."""


class Questions:
    """Hands questions to the worker and publishes its answers.

    The node gives `worker`, `outputs` and `describe_camera`, which tells why no image comes, while it is configured,
    and says with `is_active` whether they are used.
    """

    def __init__(self, node: Node, config: Callable[[], Config], health: QuestionHealth, outbox: Outbox) -> None:
        self.worker: Worker | None = None
        self.outputs: Outputs | None = None
        self.is_active = False
        self.describe_camera: Callable[[], str] | None = None
        self._logger = node.get_logger()
        self._config = config
        self._health = health
        self._outbox = outbox
        self._numbers = itertools.count(1)
        self._goals: dict[bytes, Request] = {}
        self._unanswered = 0
        # An asynchronous callback holds its group until the worker is done, so these may overlap.
        overlapping = ReentrantCallbackGroup()
        quality = QoSProfile(depth=CALLS_DEPTH)
        # Not a queue that drops its oldest: the publisher is told to wait, and what is lost all the same is counted.
        all_kept = QoSProfile(history=HistoryPolicy.KEEP_ALL)
        services = {"qos_profile": quality, "callback_group": overlapping}
        subscribe(node, msg.Query, "~/query", self._on_query, all_kept, partial(self._on_lost, "query"))
        subscribe(node, String, "~/query_text", self._on_query_text, all_kept, partial(self._on_lost, "query_text"))
        node.create_service(Trigger, "~/clear", self._on_clear)
        node.create_service(SetBool, "~/enable", self._on_enable)
        node.create_service(srv.SegmentImage, "~/segment_image", self._on_segment_image, **services)
        node.create_service(srv.Prompt, "~/prompt", self._on_prompt, **services)
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
        """Goals and service calls that wait for their answer."""
        return self._unanswered

    def destroy(self) -> None:
        """Let go of the action server, which a node does not destroy by itself."""
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
        _, answered = self._ask("", image=_image_or_newest(request.image), prompts=(request.boxes, request.points))
        response.segmentation = (await self._result(answered))[1]
        return response

    async def _on_goal(self, goal: ServerGoalHandle) -> Segment.Result:
        wanted = goal.request
        request, answered = self._ask(
            wanted.text,
            query_id=wanted.query_id,
            mode=wanted.mode,
            frames=wanted.frames,
            image=_image_or_newest(wanted.image),
            limits=(wanted.max_new_tokens, wanted.time_limit_s),
            goal=goal,
        )
        identity = bytes(goal.goal_id.uuid)
        self._goals[identity] = request
        if goal.is_cancel_requested and self.worker is not None:
            self.worker.cancel(request)
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
        request = self._goals.get(bytes(goal.goal_id.uuid))
        if request is not None and self.worker is not None:
            self.worker.cancel(request)
        return CancelResponse.ACCEPT

    def _on_clear(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        count = self.worker.clear() if self.worker is not None else 0
        response.success, response.message = True, f"{count} questions cleared"
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self.worker is not None
        response.message = "enabled" if request.data else "disabled"
        if self.worker is None:
            response.message = "the node is not configured; configure it first"
        else:
            self.worker.enable(request.data)
        return response

    def _ask(
        self,
        text: str,
        *,
        query_id: str = "",
        mode: str = "",
        frames: int = 0,
        image: Image | None = None,
        prompts: tuple[Any, Any] | None = None,
        limits: tuple[int, float] = (0, 0.0),
        goal: ServerGoalHandle | None = None,
    ) -> tuple[Request, Future]:
        """Hand a question to the worker. The future's result is the status and the last published Segmentation.

        `image` None looks at the newest camera image. Whatever is wrong with the question is its status.
        """
        answered = Future()
        query = Query(text, query_id or f"q{next(self._numbers)}")

        def on_done(outcome: Outcome) -> None:
            # Still in the worker's thread, where looking at depth holds up no callback.
            try:
                outcome = self._in_space(outcome)
            finally:
                self._outbox.post(partial(self._publish, answered, outcome))

        request = Request(query, on_done)
        request.max_new_tokens, request.time_limit_s = limits
        try:
            if not self.is_active or self.worker is None:
                raise InvalidInput("the node is not active; configure and activate it")
            check_plain(text, "question")
            check_plain(query_id, "query_id")
            request.query = Query(query.text, query.query_id, _mode(mode), frames)
            if image is not None:
                limit = self._config().camera.max_megapixels
                request.frame = images.frame_from_message(image, max_megapixels=limit)
            if prompts is not None:
                request.groundings = partial(groundings_from, *prompts)
            else:
                self._stream(request, goal)
            self.worker.submit(request)
        except InvalidInput as error:
            request.tell(failed_outcome(request, Status.REFUSED, str(error)))
        except Exception as error:
            request.tell(failed_outcome(request, Status.FAILED, one_line(f"{type(error).__name__}: {error}")))
        return request, answered

    def _stream(self, request: Request, goal: ServerGoalHandle | None) -> None:
        """Have the growing thought published, and fed back to a goal, a few times a second."""
        last_s = 0.0

        def on_text(text: str, tokens: int) -> None:
            nonlocal last_s
            if time.monotonic() - last_s >= STREAM_PERIOD_S:
                last_s = time.monotonic()
                self._outbox.post(partial(self._publish_progress, request, goal, plain_text(text), tokens))

        request.on_text = on_text
        if goal is not None:
            request.on_stage = lambda stage: self._outbox.post(partial(_feed_back, goal, stage, "", 0))
            self._outbox.post(partial(_feed_back, goal, Segment.Feedback.WAITING, "", 0))

    def _publish_progress(self, request: Request, goal: ServerGoalHandle | None, text: str, tokens: int) -> None:
        if self.outputs is not None:
            self.outputs.publish_reasoning(partial_reasoning_message(request, text, tokens))
        if goal is not None:
            _feed_back(goal, Segment.Feedback.REASONING, thought_so_far(text), tokens)

    def _in_space(self, outcome: Outcome) -> Outcome:
        """The outcome with its regions' surfaces. Whatever depth images hold, the answer in the image goes out."""
        segmentation = outcome.segmentation
        if segmentation is None or not segmentation.regions:
            return outcome
        try:
            found = located(segmentation, self._config().points.min_valid_share)
        except Exception as error:
            self._logger.error(f"no 3D: {type(error).__name__}: {error}")
            frame = replace(segmentation.frame, depth_m=None, warning_3d=one_line(f"{type(error).__name__}: {error}"))
            found = located(replace(segmentation, frame=frame), 1.0)
        return replace(outcome, segmentation=found)

    def _publish(self, answered: Future, outcome: Outcome) -> None:
        outcome, message, reasoning = self._messages(outcome)
        answer, config = outcome.answer, self._config().output
        if outcome.is_last:
            answered.set_result((answer.status, message))
        if self.outputs is not None:
            self.outputs.publish(outcome, message, reasoning, config.overlay_alpha)
        if outcome.is_followed and answer.status.has_mask:
            return  # at the camera's rate, and not a new answer
        self._health.count(outcome)
        line = f"{message.query_id[:40]}: {answer.status} in {outcome.total_s:.2f} s {answer.error}"
        # Two calls, because rclpy ties a line of code to one severity.
        if answer.status.is_answer:
            self._logger.info(line)
        else:
            self._logger.warning(line)


    def _messages(self, outcome: Outcome) -> tuple[Outcome, msg.Segmentation, msg.Reasoning | None]:
        """The outcome with its messages. Where these cannot be sent, it is a failure that says so."""
        if outcome.answer.status is Status.NO_FRAME and outcome.request.frame is None and self.describe_camera:
            error = f"{outcome.answer.error}; {self.describe_camera()}"
            outcome = replace(outcome, answer=replace(outcome.answer, error=error))
        encoding = self._config().output.mask_encoding
        try:
            return outcome, *_sendable(outcome, encoding)
        except Exception as error:
            text = one_line(f"the answer cannot be sent: {type(error).__name__}: {error}")
            self._logger.error(text)
            failed = replace(outcome, answer=Answer(Status.FAILED, error=text), segmentation=None)
            return failed, *_sendable(failed, encoding)


def _sendable(outcome: Outcome, mask_encoding: str) -> tuple[msg.Segmentation, msg.Reasoning | None]:
    """The messages of an outcome. Raises where they cannot be serialized, which rclpy does only when it sends them."""
    message = segmentation_message(outcome, mask_encoding)
    if outcome.is_followed and not outcome.is_last:
        return message, None  # at the camera's rate
    serialize_message(message)
    if outcome.is_followed:
        return message, None
    reasoning = reasoning_message(outcome)
    serialize_message(reasoning)
    return message, reasoning


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

"""The perception node: images and questions in, masks, boxes and the reason out.

One single-threaded executor serves ROS; one worker thread thinks. Whatever the worker has to say goes through an
outbox that wakes the executor, so only the executor's thread touches ROS and nothing that takes long runs in it
(but loading the models while the node is being configured).
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle, InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.action import Segment
from reasonseg_ros.config import Config
from reasonseg_ros.errors import ConfigError, InvalidInput, ReasonSegError
from reasonseg_ros.live import Outcome, Request, Worker, failure
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.ros import diagnostics, images, parameters
from reasonseg_ros.ros.camera import Camera
from reasonseg_ros.ros.conversion import (
    groundings_from,
    partial_reasoning_message,
    segmentation_message,
    thought_so_far,
)
from reasonseg_ros.ros.outputs import Outputs
from reasonseg_ros.types import Frame, Mode, Query, Status

STREAM_PERIOD_S = 0.1
"""Least time between two messages of a thought that grows."""


def load_models(config: Config) -> SegZero:
    """The configured method with its checkpoints."""
    # Imported late, so that a missing or broken model library is a failed configuration and not a dead node.
    from reasonseg_ros.methods.loading import load_method

    return load_method(config)


class ReasonSegNode(LifecycleNode):
    """A lifecycle node; `load` builds the method from the settings (tests give one with scripted models)."""

    def __init__(self, load: Callable[[Config], SegZero] = load_models, **node_arguments: Any) -> None:
        super().__init__("reasonseg", **node_arguments)
        parameters.declare(self)
        self.config = parameters.read(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._load = load
        self._worker: Worker | None = None
        self._outputs: Outputs | None = None
        self._state = "unconfigured"
        self._configure_error = ""
        self._camera: Camera | None = None
        self._camera_health = diagnostics.CameraHealth()
        self._question_health = diagnostics.QuestionHealth()
        self._numbers = itertools.count(1)
        self._goals: dict[bytes, Request] = {}
        self._outbox: deque[Callable[[], None]] = deque()
        self._outbox_guard = self.create_guard_condition(self._empty_outbox)
        self._create_interfaces()

    def start(self) -> None:
        """Configure and activate, as a lifecycle manager would; stops where one of the two fails."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            method = self._load(self.config)
        except Exception as error:
            # Known errors state value and remedy, for others the kind helps; the node can be configured again.
            known = isinstance(error, ReasonSegError)
            self._configure_error = str(error) if known else f"{type(error).__name__}: {error}"
            self.get_logger().error(f"cannot configure: {self._configure_error}")
            return TransitionCallbackReturn.FAILURE
        self._state, self._configure_error = "inactive", ""
        self._worker = Worker(method, self.config)
        self._worker.start()
        self._outputs = Outputs(self, self.config)
        self._camera = Camera(self, self.config.camera, self._camera_health, self._show, self._post)
        self.get_logger().info(f"reasoner {method.reasoner.name}, segmenter {method.segmenter.name}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._camera_health.restart()
        self._state = "active"
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._state = "inactive"
        if self._worker is not None:
            self._worker.clear("the node was deactivated")
            self._worker.forget_frame()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release("finalized")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.get_logger().error("a transition failed; back to unconfigured")
        self._release("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        self._release("finalized")
        super().destroy_node()

    def _create_interfaces(self) -> None:
        # An asynchronous callback holds its group until the worker is done, so these may overlap.
        overlapping = ReentrantCallbackGroup()
        self.create_subscription(msg.Query, "~/query", self._on_query, 10)
        self.create_subscription(String, "~/query_text", self._on_query_text, 10)
        self.create_service(Trigger, "~/clear", self._on_clear)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(srv.SegmentImage, "~/segment_image", self._on_segment_image, callback_group=overlapping)
        self.create_service(srv.Prompt, "~/prompt", self._on_prompt, callback_group=overlapping)
        self._action = ActionServer(
            self,
            Segment,
            "~/segment",
            self._on_goal,
            callback_group=overlapping,
            cancel_callback=self._on_cancel,
        )
        self._diagnostics = self.create_publisher(diagnostics.DiagnosticArray, "/diagnostics", 10)
        # Of the machine's clock: diagnostics go on while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.config.diagnostics_period_s, self._publish_diagnostics, clock=steady)

    def _release(self, state: str) -> None:
        """Let go of the models and of all that on_configure made."""
        self._state = state
        if self._worker is not None and not self._worker.stop():
            self.get_logger().warning("the model has not let go of its question yet; it ends in the background")
        if self._camera is not None:
            self._camera.destroy()
        if self._outputs is not None:
            self._outputs.destroy()
        self._worker = self._camera = self._outputs = None

    def _on_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        try:
            self.config = parameters.changed(self.config, changes, configured=self._worker is not None)
        except ConfigError as error:
            return parameters.refusal(error)
        if self._worker is not None:
            self._worker.config = self.config
        return SetParametersResult(successful=True)

    def _on_query(self, message: msg.Query) -> None:
        self._ask(message.text, query_id=message.query_id, mode=message.mode)

    def _on_query_text(self, message: String) -> None:
        self._ask(message.data)

    async def _on_segment_image(
        self, request: srv.SegmentImage.Request, response: srv.SegmentImage.Response
    ) -> srv.SegmentImage.Response:
        _, answered = self._ask(request.text, image=request.image)
        response.segmentation = (await answered)[1]
        return response

    async def _on_prompt(self, request: srv.Prompt.Request, response: srv.Prompt.Response) -> srv.Prompt.Response:
        _, answered = self._ask("", image=_image_or_newest(request.image), prompts=(request.boxes, request.points))
        response.segmentation = (await answered)[1]
        return response

    async def _on_goal(self, goal: ServerGoalHandle) -> Segment.Result:
        wanted = goal.request
        request, answered = self._ask(
            wanted.text,
            query_id=wanted.query_id,
            image=_image_or_newest(wanted.image),
            limits=(wanted.max_new_tokens, wanted.time_limit_s),
            goal=goal,
        )
        identity = bytes(goal.goal_id.uuid)
        self._goals[identity] = request
        if goal.is_cancel_requested and self._worker is not None:
            self._worker.cancel(request)
        status, segmentation = await answered
        del self._goals[identity]
        if status.is_answer:
            goal.succeed()
        elif status is Status.CANCELLED and goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return Segment.Result(segmentation=segmentation)

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        request = self._goals.get(bytes(goal.goal_id.uuid))
        if request is not None and self._worker is not None:
            self._worker.cancel(request)
        return CancelResponse.ACCEPT

    def _on_clear(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        count = self._worker.clear() if self._worker is not None else 0
        response.success, response.message = True, f"{count} questions cleared"
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self._worker is not None
        response.message = "enabled" if request.data else "disabled"
        if self._worker is None:
            response.message = "the node is not configured; configure it first"
        else:
            self._worker.enable(request.data)
        return response

    def _ask(
        self,
        text: str,
        *,
        query_id: str = "",
        mode: str = "",
        image: Image | None = None,
        prompts: tuple[Any, Any] | None = None,
        limits: tuple[int, float] = (0, 0.0),
        goal: ServerGoalHandle | None = None,
    ) -> tuple[Request, Future]:
        """Hand a question to the worker. The future's result is the status and the published Segmentation.

        `image` None looks at the newest camera image. Whatever is wrong with the question is its status.
        """
        answered = Future()
        query = Query(text, query_id or f"q{next(self._numbers)}")
        request = Request(query, partial(self._post_outcome, answered))
        request.max_new_tokens, request.time_limit_s = limits
        try:
            if self._state != "active" or self._worker is None:
                raise InvalidInput("the node is not active; configure and activate it")
            request.query = Query(query.text, query.query_id, _mode(mode))
            if image is not None:
                request.frame = images.frame_from_message(image)
            if prompts is not None:
                request.groundings = partial(groundings_from, *prompts)
            else:
                self._stream(request, goal)
            self._worker.submit(request)
        except InvalidInput as error:
            request.on_done(failure(request, Status.REFUSED, str(error)))
        return request, answered

    def _stream(self, request: Request, goal: ServerGoalHandle | None) -> None:
        """Have the growing thought published, and fed back to a goal, a few times a second."""
        last_s = 0.0

        def on_text(text: str, tokens: int) -> None:
            nonlocal last_s
            if time.monotonic() - last_s >= STREAM_PERIOD_S:
                last_s = time.monotonic()
                self._post(partial(self._publish_progress, request, goal, text, tokens))

        request.on_text = on_text
        if goal is not None:
            request.on_stage = lambda stage: self._post(partial(_feed_back, goal, stage, "", 0))
            _feed_back(goal, Segment.Feedback.WAITING, "", 0)

    def _publish_progress(self, request: Request, goal: ServerGoalHandle | None, text: str, tokens: int) -> None:
        if self._outputs is not None:
            self._outputs.publish_reasoning(partial_reasoning_message(request, text, tokens))
        if goal is not None:
            _feed_back(goal, Segment.Feedback.REASONING, thought_so_far(text), tokens)

    def _post_outcome(self, answered: Future, outcome: Outcome) -> None:
        self._post(partial(self._publish_outcome, answered, outcome))

    def _publish_outcome(self, answered: Future, outcome: Outcome) -> None:
        answer = outcome.answer
        message = segmentation_message(outcome, self.config.output.mask_encoding)
        if not answered.done():  # a watched question has many answers, and its future only the first
            answered.set_result((answer.status, message))
        self._question_health.count(outcome)
        if self._outputs is not None:
            self._outputs.publish(outcome, message, self.config.output.overlay_alpha)
        line = f"{message.query_id[:40]}: {answer.status} in {outcome.total_s:.2f} s {answer.error}"
        # Two calls, because rclpy ties a line of code to one severity.
        if answer.status.is_answer:
            self.get_logger().info(line)
        else:
            self.get_logger().warning(line)

    def _publish_diagnostics(self) -> None:
        worker = self._worker
        models = {"reasoner": worker.method.reasoner.name, "segmenter": worker.method.segmenter.name} if worker else {}
        statuses = [
            diagnostics.node_status(self._state, self._configure_error, models),
            self._camera_health.status(self.config.camera, self._state == "active"),
            self._question_health.status(worker.load() if worker else None),
        ]
        self._diagnostics.publish(
            diagnostics.array(self.get_fully_qualified_name(), self.get_clock().now().to_msg(), statuses)
        )

    def _show(self, load_frame: Callable[[], Frame]) -> None:
        if self._state == "active" and self._worker is not None:
            self._worker.show(load_frame)

    def _post(self, work: Callable[[], None]) -> None:
        """Have `work` done in the executor's thread. From any thread."""
        self._outbox.append(work)
        with suppress(InvalidHandle):  # a model that outlives the node still says how its question ended
            self._outbox_guard.trigger()

    def _empty_outbox(self) -> None:
        while self._outbox:
            work = self._outbox.popleft()
            try:
                work()
            except Exception as error:
                # One answer that cannot be sent must not end the node.
                self.get_logger().error(f"cannot send: {type(error).__name__}: {error}")


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


def main(arguments: Sequence[str] | None = None, load: Callable[[Config], SegZero] = load_models) -> int:
    """Run the node until Ctrl-C or an external shutdown. Returns the exit status."""
    rclpy.init(args=arguments)
    node = None
    try:
        node = ReasonSegNode(load)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        if node.config.autostart:
            node.start()
        executor.spin()
    except (InvalidParameterTypeException, InvalidParameterValueException, ConfigError) as error:
        print(f"reasonseg: {error}; see config/reasonseg.yaml for names, types and bounds", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

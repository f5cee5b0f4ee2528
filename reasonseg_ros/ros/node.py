"""The perception node: images and questions in, masks, boxes and the reason out.

One single-threaded executor serves ROS; one worker thread thinks. The worker's results go through an outbox that wakes
the executor. So only the executor's thread touches ROS, and no long work runs in it, except the loading of models
during configuration; a separate thread sends diagnostics meanwhile.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NoReturn

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from reasonseg_ros.config import Config, check_names
from reasonseg_ros.errors import ConfigError, ModelError, ReasonSegError
from reasonseg_ros.files.standard_streams import open_standard_streams
from reasonseg_ros.injection.configured import configured_fault
from reasonseg_ros.methods.port import Method
from reasonseg_ros.plain_text import log_plainly, one_line
from reasonseg_ros.reasoner.known_picture import PictureResult, check_configured
from reasonseg_ros.ros import diagnostics, parameters
from reasonseg_ros.ros.arguments import check_arguments
from reasonseg_ros.ros.inputs.depth_health import DepthHealth
from reasonseg_ros.ros.outbox import Outbox
from reasonseg_ros.ros.process import memory
from reasonseg_ros.ros.process.events import RareEvents
from reasonseg_ros.ros.process.serving import called_from_a_thread, guard_transitions, spin
from reasonseg_ros.ros.process.signals import stop_signals
from reasonseg_ros.ros.questions import Questions
from reasonseg_ros.ros.recording import Recordings
from reasonseg_ros.ros.session import LoadMethod, Session, load_models
from reasonseg_ros.ros.start_line import knowledge, models_line, topics_line
from reasonseg_ros.ros.twins import count_named
from reasonseg_ros.settings import Settings

RELEASE_LIMIT_S = 2.0
"""Maximum wait of a deactivation for the model to stop. Then the question is reported as ended."""
TELL_S = 1.0
"""Maximum wait at the end of the process until services, goals and subscribers have their last answers."""
TURNS = 20
"""Number of callbacks for sending the last results, after the goals have ended."""


class ReasonSegNode(LifecycleNode):
    """A lifecycle node; `load` builds the method from the settings (tests give one with scripted models)."""

    def __init__(self, load: LoadMethod = load_models, **node_arguments: Any) -> None:
        super().__init__("reasonseg", **node_arguments)
        guard_transitions(self)
        parameters.declare(self)
        self._settings = Settings(parameters.read(self))
        self.add_on_set_parameters_callback(self._on_parameters)
        self._load = load
        self._session: Session | None = None
        self._faults = ExitStack()
        self._state = "unconfigured"
        self._configure_error = ""
        self._progress = ""
        self._limits = ""
        self._picture: PictureResult | None = None
        self._camera_health = diagnostics.CameraHealth()
        self._depth_health = DepthHealth()
        self._question_health = diagnostics.QuestionHealth()
        self._outbox = Outbox(self)
        self._questions = Questions(self, self._settings, self._question_health, self._outbox)
        self._recordings = Recordings(self, self._settings, self._outbox)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # By the machine's clock, so that diagnostics continue while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.config.diagnostics_period_s, self._publish_diagnostics, clock=steady)
        self._events = RareEvents(self)

    @property
    def config(self) -> Config:
        """The current settings."""
        return self._settings.now

    def start(self) -> None:
        """Configure and activate, as a lifecycle manager would; stops if one of the two fails."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._state, self._configure_error, self._progress = "configuring", "", ""
        self._picture = None
        try:
            with (
                called_from_a_thread(self._publish_diagnostics, self.config.diagnostics_period_s),
                memory.frozen_models(),
            ):
                method = self._load(self._settings, self._on_progress)
                self._picture = self._check_picture(method)
            self._faults.enter_context(configured_fault(self.config.faults))
            self._session = Session(
                self, method, self._settings, self._camera_health, self._depth_health, self._question_health,
                self._outbox, self._recordings,
            )  # fmt: skip
        except Exception as error:
            # Known errors state value and remedy; for others the type helps. The node can be configured again.
            known = isinstance(error, ReasonSegError)
            self._configure_error = str(error) if known else f"{type(error).__name__}: {error}"
            self._faults.close()
            self._state = "unconfigured"
            self.get_logger().error(f"cannot configure: {self._configure_error}")
            return TransitionCallbackReturn.FAILURE
        self._questions.session = self._session
        self._enter("inactive")
        self._limits = knowledge(self.config, method)
        self.get_logger().info(models_line(method, self._limits))
        self.get_logger().info(topics_line(self))
        return super().on_configure(state)

    def _check_picture(self, method: Method) -> PictureResult | None:
        """Ask the reasoner about a picture whose answers are known, if the settings say so."""
        demand = self.config.reasoner.known_picture
        if demand == "never":
            return None
        self._on_progress("asking the reasoner about its known picture", None)
        result = check_configured(method.reasoner, self.config.reasoner)
        if not result.is_right and demand == "require":
            self._picture = result
            raise ModelError(f"reasoner.known_picture = {demand}: {result.text}")
        (self.get_logger().info if result.is_right else self.get_logger().warning)(result.text)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._camera_health.restart()
        self._enter("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._end_questions("the node was deactivated")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._end_questions("the node was shut down")
        self._release("finalized")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.get_logger().error("a transition failed; back to unconfigured")
        self._release("unconfigured")
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        self._release("finalized")
        self._questions.destroy()
        super().destroy_node()

    def finish(self, executor: SingleThreadedExecutor) -> None:
        """End all questions before the process ends, and wait a moment until all clients have their results."""
        self._end_questions("the node stops")
        deadline_s = time.monotonic() + TELL_S
        while self._questions.unanswered and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.05)
        for _ in range(TURNS):
            executor.spin_once(timeout_sec=0)
        if self._session is not None:
            self._session.outputs.wait_until_received(max(0.0, deadline_s - time.monotonic()))

    def _end_questions(self, reason: str) -> None:
        """End all questions while the publishers still send, so that clients see them end."""
        self._enter("inactive")
        if self._session is not None:
            worker = self._session.worker
            worker.clear(reason)
            worker.forget_frames()
            if not worker.rest(RELEASE_LIMIT_S):
                worker.abandon(reason)
        self._outbox.empty()
        if self._session is not None:
            self._session.outputs.delete_markers()

    def _enter(self, state: str) -> None:
        self._state = state
        if self._session is not None:
            self._session.is_active = state == "active"

    def _release(self, state: str) -> None:
        """Release the models and everything that on_configure created."""
        self._enter(state)
        self._faults.close()
        if self._session is not None and not self._session.close():
            self.get_logger().warning("the model has not stopped yet; its question ends in the background")
        self._session = self._questions.session = None
        memory.release_models()

    def _on_progress(self, text: str, part: float | None) -> None:
        """The current step of the configuration, for the diagnostics: building engines may take minutes."""
        self._progress = text if part is None else f"{text}: {part:.0%}"
        if not part:
            self.get_logger().info(text)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Refuse unknown names and suggest similar ones, which rclpy's refusal does not."""
        try:
            check_names(one.name for one in parameter_list if not self.has_parameter(one.name))
        except ConfigError as error:
            return parameters.refusal(error)
        return super().set_parameters_atomically(parameter_list)

    def _on_parameters(self, changes: Sequence[Parameter]) -> SetParametersResult:
        try:
            self._settings.change(parameters.changed(self.config, changes, configured=self._session is not None))
        except ConfigError as error:
            return parameters.refusal(error)
        return SetParametersResult(successful=True)

    def _publish_diagnostics(self) -> None:
        try:
            self._send_diagnostics()
        except Exception as error:  # the next messages may be sent
            text = f"cannot send diagnostics: {type(error).__name__}: {error}"
            self.get_logger().error(text, throttle_duration_sec=5.0)

    def _send_diagnostics(self) -> None:
        name = self.get_fully_qualified_name()
        alike = count_named(self, name)
        session, camera, is_active = self._session, self.config.camera, self._state == "active"
        method = session.worker.method if session else None
        models = {"method": self.config.method}
        models |= {"reasoner": method.reasoner.name, "segmenter": method.segmenter.name} if method else {}
        if method and self._limits:
            models["limits"] = self._limits
        statuses = [
            diagnostics.node_status(self._state, self._configure_error, models, self._progress, alike),
            self._camera_health.status(camera, is_active, session.camera.describe if session else None),
            self._depth_health.status(camera, is_active),
            self._question_health.status(session.worker.load() if session else None),
            diagnostics.picture_status(self._picture),
            self._recordings.status(),
        ]
        self._diagnostics.publish(diagnostics.array(name, self.get_clock().now().to_msg(), statuses))


def main(arguments: Sequence[str] | None = None, load: LoadMethod = load_models) -> int:
    """Run the node until SIGINT, SIGTERM or an external shutdown. Returns the exit status.

    `arguments` as in `sys.argv`, which is the default: the program's name first.
    """
    open_standard_streams()
    log_plainly()
    arguments = list(sys.argv if arguments is None else arguments)
    with stop_signals() as stop:
        try:
            parameters.check_files(arguments)  # first: what ROS says about a file names its own sources only
            check_arguments(arguments)
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        except (ConfigError, RuntimeError) as error:  # RuntimeError: arguments that ROS cannot read
            print(f"reasonseg: {one_line(str(error))}", file=sys.stderr)
            return 2
        except SystemExit as end:  # the usage was printed
            return int(end.code or 0)
        node = executor = None
        try:
            node = ReasonSegNode(load)
            if "--params-file" in arguments and not parameters.is_given(node):
                name = node.get_fully_qualified_name()
                node.get_logger().warning(f"no parameter file has a section for {name}; begin it with `/**:`")
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            if node.config.autostart:
                node.start()
            spin(node, executor, stop)
            node.finish(executor)
        except (InvalidParameterTypeException, InvalidParameterValueException, ConfigError) as error:
            print(f"reasonseg: {error}; see config/reasonseg.yaml for names, types and bounds", file=sys.stderr)
            return 2
        except (KeyboardInterrupt, ExternalShutdownException):
            pass
        except RuntimeError:
            # A transition cannot end if ROS was shut down in the middle of it.
            if rclpy.ok():
                raise
        finally:
            if executor is not None:
                executor.shutdown()
            if node is not None:
                node.destroy_node()
            rclpy.try_shutdown()
    return 0


def run_node() -> NoReturn:
    """`main` for a separate process.

    It skips Python's finalization, which visits every object of the model libraries. That takes seconds on a busy
    machine, longer than launch waits before it kills a node.
    """
    memory.trim_regularly()
    status = main()
    gc.collect()  # remaining objects of the node hold the context, which frees its shared memory when it is destroyed
    rclpy.get_default_context().destroy()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run_node()

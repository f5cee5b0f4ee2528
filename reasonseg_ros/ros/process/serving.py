"""How the node is served: its executor, its transitions, and a thread while the executor is busy."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import rclpy
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from reasonseg_ros.ros.process.signals import StopSignals


def spin(node: Node, executor: SingleThreadedExecutor, stop: StopSignals) -> None:
    """Serve until a signal or the end of ROS. Errors of callbacks are logged.

    Does not use `spin_until_future_complete`, which adds a callback to the future for every callback that it runs.
    """
    stopped = threading.Event()
    wake = node.create_guard_condition(lambda: None)

    def on_stop() -> None:
        stopped.set()
        wake.trigger()

    stop.wait_for_callbacks(on_stop)
    while rclpy.ok() and not stopped.is_set():
        try:
            executor.spin_once()
        except (KeyboardInterrupt, ExternalShutdownException):
            raise
        except Exception as error:
            if not rclpy.ok():
                raise
            node.get_logger().error(f"a callback failed, the node goes on: {error!r}\n{traceback.format_exc()}")


def guard_transitions(node: LifecycleNode) -> None:
    """Refuse a transition that is not possible now; rclpy raises, which would end the process."""
    change_state = node._service_change_state.callback

    def guarded(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return change_state(request, response)
        except RuntimeError as error:
            wanted = request.transition.label or request.transition.id
            node.get_logger().warning(f"transition {wanted} refused: {error}")
            response.success = False
            return response

    node._service_change_state.callback = guarded


@contextmanager
def called_from_a_thread(call: Callable[[], None], period_s: float) -> Iterator[None]:
    """Call it every `period_s` from a thread while the block runs and keeps the executor's thread busy."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(period_s):
            with suppress(RuntimeError):  # ROS may be shut down meanwhile
                call()

    thread = threading.Thread(target=repeat, name="reasonseg diagnostics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()

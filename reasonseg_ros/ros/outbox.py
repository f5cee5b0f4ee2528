"""Work that other threads pass to the executor's thread, the only one that touches ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node


class Outbox:
    """Runs posted work in order, in the thread of the executor of `node`."""

    def __init__(self, node: Node) -> None:
        self._logger = node.get_logger()
        self._posted: deque[Callable[[], None]] = deque()
        self._guard = node.create_guard_condition(self.empty)

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` in the executor's thread. From any thread."""
        self._posted.append(work)
        with suppress(InvalidHandle):  # a model that outlives the node still reports how its question ended
            self._guard.trigger()

    def empty(self) -> None:
        """Run all work posted so far. Only from the executor's thread."""
        while self._posted:
            work = self._posted.popleft()
            try:
                work()
            except Exception as error:
                # One answer that cannot be sent must not end the node.
                self._logger.error(f"cannot send: {type(error).__name__}: {error}")

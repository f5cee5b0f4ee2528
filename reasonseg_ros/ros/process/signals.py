"""SIGINT and SIGTERM while the node runs: they end it between two callbacks, so that no answer is lost half-way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """What the signals of this process do. At first a signal raises KeyboardInterrupt, so that loading models ends at
    once. After `wait_for_callbacks` it calls `on_stop` instead, from a thread. Only the first signal counts: under
    `ros2 launch` Ctrl-C in a terminal arrives twice, because launch passes it on.
    """

    def __init__(self) -> None:
        self._came = self._raised = False
        self._on_stop: Callable[[], None] | None = None

    def wait_for_callbacks(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        if self._came:
            on_stop()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Runs in the main thread, as soon as that executes Python code."""
        if self._on_stop is None and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def _watch(self, descriptor: int) -> None:
        """Runs in a thread, because the main one may be waiting in ROS without noticing signals."""
        while number := os.read(descriptor, 1):
            if number[0] in SIGNALS:
                self._came = True
                if self._on_stop is not None:
                    with suppress(Exception):  # ROS may be gone by now
                        self._on_stop()


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Handle SIGINT and SIGTERM in the block; afterwards restore the earlier handlers. Does nothing outside the main
    thread. If a signal came, both are ignored after the block.
    """
    stop = StopSignals()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before: dict[int, Any] = {number: signal.signal(number, stop._handle) for number in SIGNALS}
    descriptor_before = signal.set_wakeup_fd(writing)
    watcher = threading.Thread(target=stop._watch, args=(reading,), name="reasonseg signals", daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(descriptor_before)
        for number, handler in before.items():
            # Once asked to stop, the process ends; a second Ctrl-C must not cut that short.
            signal.signal(number, signal.SIG_IGN if stop._came else handler)
        os.close(writing)
        watcher.join()
        os.close(reading)

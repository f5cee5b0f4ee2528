"""Ends the process by a signal, although a thread blocks on standard input and cannot be interrupted."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 2.0
"""Time to cancel questions before the process is ended by force."""


def end_by_signals() -> None:
    """Keep the handlers of SIGINT, SIGTERM and SIGHUP, and also end the process GRACE_S later. For the main thread."""
    for number in SIGNALS:
        before = signal.getsignal(number)
        if callable(before):  # ignored signals stay ignored
            signal.signal(number, _Ending(before))


class _Ending:
    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        timer = threading.Timer(GRACE_S, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        self._before(number, frame)

"""An end by a signal, although a thread waits for standard input and nothing can interrupt it."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 2.0
"""Time for questions to be cancelled before the process ends anyway."""


def end_by_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP do what they did, and end the process after GRACE_S. For the main thread."""
    for number in SIGNALS:
        before = signal.getsignal(number)
        if callable(before):  # what is ignored stays ignored
            signal.signal(number, _Ending(before))


class _Ending:
    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        timer = threading.Timer(GRACE_S, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        self._before(number, frame)

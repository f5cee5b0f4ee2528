"""Signs of life of a thread that calls models, so that a call that never returns is noticed by another thread."""

from __future__ import annotations

import time


class Vitals:
    """The current stage of a thread, and its last sign of life. Written by that thread, read by any.

    A thread that is idle or waits for an image has no stage and cannot hang.
    """

    def __init__(self) -> None:
        self._at = ("", 0.0)  # replaced as a whole, so that a reader never sees a partial update

    def begin(self, work: str) -> None:
        self._at = (work, time.monotonic())

    def go_on(self) -> None:
        """A sign of life: a token, a step."""
        work, _ = self._at
        self._at = (work, time.monotonic())

    def rest(self) -> None:
        self._at = ("", 0.0)

    def hang(self, limit_s: float) -> str:
        """The stage in which the thread hangs, if its last sign of life is older than `limit_s`; else empty.

        0: no limit.
        """
        work, since_s = self._at
        silent_s = time.monotonic() - since_s
        return f"no sign of life for {silent_s:.0f} s while {work}" if limit_s and work and silent_s > limit_s else ""

"""The stamps of a stream of images: whether one is newer, older, or restarts the stream."""

from __future__ import annotations

from enum import Enum

RESTART_NS = 10**9
"""A stamp that goes back further than this restarts the stream, as in a looping bag."""
RESTART_COUNT = 10
"""Number of consecutive images with growing but older stamps that also restarts the stream: the clock was set back."""


class Step(Enum):
    NEWER = "newer"
    BEHIND = "behind"
    RESTART = "restart"


class Stamps:
    """Compares each stamp with those before it. For one thread."""

    def __init__(self) -> None:
        self._newest_ns: int | None = None
        self._last_ns = -1
        self._behind = 0

    def step(self, stamp_ns: int) -> Step:
        goes_on, self._last_ns = stamp_ns > self._last_ns, stamp_ns
        behind_ns = -1 if self._newest_ns is None else self._newest_ns - stamp_ns
        self._behind = self._behind + goes_on if behind_ns >= 0 else 0
        if behind_ns > RESTART_NS or self._behind >= RESTART_COUNT:
            self.forget()
            self._newest_ns = stamp_ns
            return Step.RESTART
        if behind_ns >= 0:
            return Step.BEHIND
        self._newest_ns = stamp_ns
        return Step.NEWER

    def forget(self) -> None:
        """Accept any next stamp as newer."""
        self._newest_ns = None
        self._behind = 0

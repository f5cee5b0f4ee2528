"""A rate limit for the calls of an agent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from reasonseg_ros.errors import InvalidInput

WINDOW_S = 60.0


class CallRate:
    """At most `per_minute` calls in any 60 seconds. `now_s` is a monotonic clock, seconds.

    Raises InvalidInput for a limit outside 1 to 6000.
    """

    def __init__(self, per_minute: int, now_s: Callable[[], float] = time.monotonic) -> None:
        if not 1 <= per_minute <= 6000:
            raise InvalidInput(f"--per-minute {per_minute}; expected 1 to 6000")
        self._now_s = now_s
        self._calls_s: deque[float] = deque(maxlen=per_minute)

    def take(self) -> None:
        """Count a call. Raises InvalidInput, with the time to wait, if there were too many; it is then not counted."""
        now_s, most = self._now_s(), self._calls_s.maxlen
        if len(self._calls_s) == most and (wait_s := self._calls_s[0] + WINDOW_S - now_s) > 0:
            raise InvalidInput(f"more than {most} calls in a minute; wait {wait_s:.0f} s, or raise --per-minute")
        self._calls_s.append(now_s)

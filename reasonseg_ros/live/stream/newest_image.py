"""The slot of the newest image: each image replaces the previous one. Threads wait here for an image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from reasonseg_ros.live.stream.frame_buffer import Arrival


class NewestImage:
    """Thread-safe. `changed` is shared with the owner: one lock guards everything that a waiting thread checks."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._arrival: Arrival | None = None
        self._came_s = self._newer_s = time.monotonic()
        self._fault = ""

    @property
    def arrival(self) -> Arrival | None:
        return self._arrival

    @property
    def newer_s(self) -> float:
        """When the last image with a newer stamp came, by the monotonic clock."""
        return self._newer_s

    def show(self, arrival: Arrival, is_newer: bool) -> None:
        with self._changed:
            self._arrival = arrival
            self._came_s = time.monotonic()
            if is_newer:
                self._newer_s = self._came_s
            self._changed.notify_all()

    def forget(self) -> None:
        with self._changed:
            self._arrival = None
            self._fault = ""

    def reject(self, arrival: Arrival, reason: str) -> None:
        """This image cannot be used. `reason` is reported if no other image comes."""
        with self._changed:
            self._fault = reason
            if self._arrival is arrival:
                self._arrival = None

    def wait(
        self, deadline_s: float, silent_s: float, max_age_s: float, is_given_up: Callable[[], object]
    ) -> Arrival | None:
        """The newest image; None if there is none by the deadline (monotonic clock), or `is_given_up`.

        The last image does not count if it is older than `max_age_s`, or if no newer stamp has come for `silent_s`.
        """
        with self._changed:
            while self._arrival is None or self._is_silent(silent_s) or self._is_old(max_age_s):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or is_given_up():
                    return None
                self._changed.wait(left_s)
            return self._arrival

    def why_none(self, waited_s: float, silent_s: float, max_age_s: float) -> str:
        """The reason why `wait` returned None."""
        now_s = time.monotonic()
        if self._arrival is not None and self._is_silent(silent_s):
            quiet_s = now_s - self._newer_s
            return f"no newer image for {quiet_s:.1f} s; does the camera still publish, and do its stamps go on?"
        if self._arrival is not None and self._is_old(max_age_s):
            return (
                f"the last image came {now_s - self._came_s:.1f} s ago; does the camera still publish? "
                "query.image_max_age_s says how old it may be, 0: any age"
            )
        reason = f"no image within {waited_s:g} s"
        return f"{reason}; the last image was not usable: {self._fault}" if self._fault else reason

    def _is_silent(self, silent_s: float) -> bool:
        return time.monotonic() - self._newer_s >= silent_s

    def _is_old(self, max_age_s: float) -> bool:
        return time.monotonic() - self._came_s >= max_age_s

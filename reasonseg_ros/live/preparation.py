"""Prepares the newest image for questions while the worker is idle."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from reasonseg_ros.config import QueryConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.methods.port import Method
from reasonseg_ros.types import Frame

_LOG = logging.getLogger(__name__)


class Preparation:
    """Knows which image is ready, and when the next may be prepared. For one thread, except `forget`."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._lock = threading.Lock()
        self._ready: tuple[Arrival, Frame] | None = None
        self._times_forgotten = 0
        self._begun_s = self._rests_since_s = -math.inf
        self._has_failed = False

    def due_s(self, newest: Arrival | None, query: QueryConfig) -> float:
        """Seconds until `newest` should be prepared; infinity if there is nothing to do."""
        if query.prepare == "never" or newest is None or (self._ready and self._ready[0] is newest):
            return math.inf
        return max(0.0, max(self._begun_s, self._rests_since_s) + query.prepare_period_s - time.monotonic())

    def rest(self) -> None:
        """A question was answered. The next may come soon, so nothing is prepared for one period."""
        self._rests_since_s = time.monotonic()

    def prepare(self, newest: Arrival, is_wanted: Callable[[], bool]) -> None:
        """Never raises: errors of the image or the models are reported when a question comes."""
        self._begun_s = time.monotonic()
        try:
            with self._lock:
                times_forgotten = self._times_forgotten
            frame = newest.load()
            with self._lock:
                if times_forgotten != self._times_forgotten:
                    return  # the image is from before a restart of the stream
                self._ready = newest, frame
            self._method.prepare(frame, is_wanted)
        except InvalidInput:
            self._ready = None
        except Exception:
            self._ready = None
            if not self._has_failed:
                _LOG.exception("an image could not be prepared; further failures are not logged")
            self._has_failed = True

    def frame(self, newest: Arrival, query: QueryConfig) -> Frame | None:
        """The prepared frame, if it is `newest` or recent enough to be used instead; otherwise None."""
        ready = self._ready
        if query.prepare == "never" or ready is None:
            return None
        if ready[0].stamp_ns > newest.stamp_ns:
            return None  # the stream restarted

        is_young = time.monotonic() - self._begun_s <= query.prepare_period_s
        return ready[1] if is_young or ready[0] is newest else None

    def forget(self) -> None:
        """Drop the prepared image, also one that is being prepared. From any thread."""
        with self._lock:
            self._times_forgotten += 1
            self._ready = None

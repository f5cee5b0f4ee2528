"""The newest image, made ready for questions while nothing else is to be done."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from reasonseg_ros.config import QueryConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.frame_buffer import Arrival
from reasonseg_ros.methods.port import Method
from reasonseg_ros.types import Frame

_LOG = logging.getLogger(__name__)


class Preparation:
    """Knows which image is ready, and when another may be. For one thread, but `forget`."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._ready: tuple[Arrival, Frame] | None = None
        self._begun_s = self._rests_since_s = -math.inf
        self._has_failed = False

    def due_s(self, newest: Arrival | None, query: QueryConfig) -> float:
        """Seconds until `newest` should be prepared; infinity where there is nothing to do."""
        if query.prepare == "never" or newest is None or (self._ready and self._ready[0] is newest):
            return math.inf
        return max(0.0, max(self._begun_s, self._rests_since_s) + query.prepare_period_s - time.monotonic())

    def rest(self) -> None:
        """A question was answered: the next one may follow at once, so for a period nothing stands in its way."""
        self._rests_since_s = time.monotonic()

    def prepare(self, newest: Arrival, is_wanted: Callable[[], bool]) -> None:
        """Never raises: what is wrong with the image or the models is told when a question comes."""
        self._begun_s = time.monotonic()
        try:
            frame = newest.load()
            self._ready = newest, frame
            self._method.prepare(frame, is_wanted)
        except InvalidInput:
            self._ready = None
        except Exception:
            self._ready = None
            if not self._has_failed:
                _LOG.exception("an image could not be prepared; further failures are not told")
            self._has_failed = True

    def frame(self, newest: Arrival, query: QueryConfig) -> Frame | None:
        """The frame to ask about instead of `newest`: the prepared one where it is that or young enough."""
        ready = self._ready
        if query.prepare == "never" or ready is None:
            return None
        is_young = time.monotonic() - self._begun_s <= query.prepare_period_s
        return ready[1] if is_young or ready[0] is newest else None

    def forget(self) -> None:
        """From any thread: the images so far are of the past."""
        self._ready = None

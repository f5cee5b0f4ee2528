"""Every question that has not ended, and which is next: those that wait, those that stand, and the running one.

Nothing here is thread-safe: whoever uses it holds a lock.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import replace

from reasonseg_ros.config import Config, QueryConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.requests import STANDING, Outcome, Request, failed_outcome, is_followed_on
from reasonseg_ros.types import Mode, Status


class Agenda:
    """A question waits, runs, and ends; a standing one stands in between and runs again when it is due.

    Attributes:
        taken: the one that ran last, also after it has ended.
    """

    def __init__(self) -> None:
        self.waiting: deque[Request] = deque()
        self.standing: list[Request] = []
        self.running: Request | None = None
        self.taken: Request | None = None

    def __contains__(self, request: Request) -> bool:
        return request is self.running or request in self.waiting or request in self.standing

    def admit(self, request: Request, query: QueryConfig) -> list[Request]:
        """Let it wait for its turn. Those that it ends are taken out and returned. Raises InvalidInput without room."""
        if query.policy == "refuse" and (self.running or self.waiting):
            raise InvalidInput("another question is being answered; ask again later, or set query.policy to queue")
        if query.policy != "replace" and len(self.waiting) + len(self.standing) >= query.queue_size:
            raise InvalidInput(f"{query.queue_size} questions wait or stand already; ask again later, or call ~/clear")
        ended = self.drop_all("replaced by a newer question") if query.policy == "replace" else []
        if request.query.mode in STANDING:
            same = [one for one in self.standing if one.query.query_id == request.query.query_id]
            ended += [one for one in same if self.drop(one, "asked anew under the same query_id")]
        self.waiting.append(request)
        return ended

    def drop(self, request: Request, reason: str) -> bool:
        """Take it out. False where it runs, and ends by itself soon, or has ended."""
        request.dropped_because = request.dropped_because or reason
        for several in (self.waiting, self.standing):
            if request in several:
                several.remove(request)
                return True
        return False

    def drop_all(self, reason: str) -> list[Request]:
        """Take out all but the running one, which is told to end."""
        if self.running:
            self.drop(self.running, reason)
        return [request for request in [*self.waiting, *self.standing] if self.drop(request, reason)]

    def due_s(self, config: Config, newer_s: float) -> float:
        """Seconds until a standing question is to be asked again; `newer_s` is when a newer image came last."""
        due_s = min((self._due_s(request, config, newer_s) for request in self.standing), default=math.inf)
        return due_s - time.monotonic()

    def begin_waiting(self) -> Request:
        """The first that waits now runs."""
        return self._begin(self.waiting.popleft())

    def begin_standing(self, config: Config, newer_s: float) -> Request:
        """The standing question that has been due longest now runs."""
        due = min(self.standing, key=lambda request: self._due_s(request, config, newer_s))
        self.standing.remove(due)
        due.asked_s, due.is_due = time.monotonic(), False
        return self._begin(due)

    def end_running(self, outcome: Outcome, config: Config) -> Outcome:
        """The running question has come to this outcome: it stands now, or has ended."""
        self.running = None
        outcome = self._settled(outcome, config)
        if not outcome.is_last:
            self.standing.append(outcome.request)
        return outcome

    def settle_followed(self, outcome: Outcome, config: Config) -> Outcome:
        """Masks of an earlier answer on a newer image, which may be the last; also while it is being asked again."""
        outcome = self._settled(outcome, config)
        if outcome.is_last:
            self.drop(outcome.request, "it has ended")
        return outcome

    def _begin(self, request: Request) -> Request:
        self.running = self.taken = request
        return request

    def _settled(self, outcome: Outcome, config: Config) -> Outcome:
        request, query = outcome.request, outcome.request.query
        if request.dropped_because and outcome.answer.status is not Status.CANCELLED:
            outcome = failed_outcome(request, Status.CANCELLED, request.dropped_because)
        status = outcome.answer.status
        request.told += 1
        if status is Status.LOST:
            request.lost += 1
        elif outcome.is_followed or not is_followed_on(query.mode, config.stream):
            request.lost = 0
        is_over = (
            query.mode not in STANDING
            or bool(request.dropped_because)
            or 0 < query.frames <= request.told
            # A newer one under the same id waits already.
            or any(new.query.mode in STANDING and new.query.query_id == query.query_id for new in self.waiting)
        )
        if query.mode is Mode.TRACK and status is not Status.OK:
            is_over = is_over or status is not Status.LOST or request.lost > config.query.ask_again
        if status is Status.LOST or not outcome.is_followed:
            request.is_due = status is Status.LOST and request.lost <= config.query.ask_again
        return replace(outcome, is_last=is_over)

    @staticmethod
    def _due_s(request: Request, config: Config, newer_s: float) -> float:
        """By the monotonic clock."""
        if request.is_due:
            return 0.0
        if request.query.mode is Mode.WATCH:
            return request.asked_s + config.query.watch_period_s
        return newer_s + config.camera.silent_error_s

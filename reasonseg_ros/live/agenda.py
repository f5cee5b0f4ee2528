"""All questions that have not ended: waiting, standing (watched or tracked) and running ones. Decides which is next.

Not thread-safe: the caller holds a lock.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from reasonseg_ros.config import Config, QueryConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.delivery import Delivery
from reasonseg_ros.live.questions import STANDING, Outcome, Question, Turn, failed_outcome, is_tracked_on
from reasonseg_ros.types import FloatArray, Frame, Mode, Status


@dataclass(eq=False)
class Pending:
    """A question that has not ended. Only the agenda changes it; others read the public attributes.

    Attributes:
        asked_s: when it was last asked, by the monotonic clock.
        times_lost: how often its target was lost since it was last tracked.
        restarts: how often the stream had restarted when it was asked.
        dropped_because: why it has to end; empty while it continues. May be read from any thread.
    """

    question: Question
    delivery: Delivery = field(default_factory=Delivery)
    asked_s: float = 0.0
    times_lost: int = 0
    restarts: int = 0
    dropped_because: str = ""
    _outcomes: int = 0
    _is_due: bool = False
    _frame: Frame | None = None
    _thumbnail: FloatArray | None = None

    def __post_init__(self) -> None:
        self.asked_s = self.question.asked_s

    def failed(self, status: Status, error: str, frame: Frame | None = None) -> Outcome:
        """Its outcome without an answer, about `frame` or its last image."""
        return failed_outcome(self.question, status, error, frame or self._frame, self.asked_s)


class Agenda:
    """A question waits, runs, and ends. A standing question (watched or tracked) runs again when it is due.

    Attributes:
        taken: the last one that ran, also after it has ended.
    """

    def __init__(self) -> None:
        self.waiting: deque[Pending] = deque()
        self.standing: list[Pending] = []
        self.running: Pending | None = None
        self.taken: Pending | None = None

    def __contains__(self, pending: Pending) -> bool:
        return pending is self.running or pending in self.waiting or pending in self.standing

    def find(self, question: Question) -> Pending | None:
        """None if it has ended or was never admitted."""
        known = [*self.waiting, *self.standing, *filter(None, [self.running])]
        return next((pending for pending in known if pending.question is question), None)

    def admit(self, question: Question, query: QueryConfig, restarts: int = 0) -> list[Pending]:
        """Queue it. Returns the questions that it ends. Raises InvalidInput if the queue is full.

        `restarts` says how often the stream has restarted.
        """
        if query.policy == "refuse" and (self.running or self.waiting):
            raise InvalidInput("another question is being answered; ask again later, or set query.policy to queue")
        if query.policy != "replace" and len(self.waiting) + len(self.standing) >= query.queue_size:
            raise InvalidInput(f"{query.queue_size} questions wait or stand already; ask again later, or call ~/clear")
        ended = self.drop_all("replaced by a newer question") if query.policy == "replace" else []
        if question.query.mode in STANDING:
            same = [one for one in self.standing if one.question.query.query_id == question.query.query_id]
            ended += [one for one in same if self.drop(one, "asked anew under the same query_id")]
        self.waiting.append(Pending(question, restarts=restarts))
        return ended

    def drop(self, pending: Pending, reason: str) -> bool:
        """Remove it. False if it is running and will end soon, or has ended."""
        pending.dropped_because = pending.dropped_because or reason
        for several in (self.waiting, self.standing):
            if pending in several:
                several.remove(pending)
                return True
        return False

    def drop_all(self, reason: str) -> list[Pending]:
        """Remove all but the running one, which is asked to end."""
        if self.running:
            self.drop(self.running, reason)
        return [pending for pending in [*self.waiting, *self.standing] if self.drop(pending, reason)]

    def due_s(self, config: Config, newer_s: float) -> float:
        """Seconds until a standing question is due; `newer_s` is the arrival time of the last newer image."""
        due_s = min((self._due_s(pending, config, newer_s) for pending in self.standing), default=math.inf)
        return due_s - time.monotonic()

    def scenes(self) -> dict[Pending, FloatArray]:
        """Thumbnails of the standing questions that are asked again on a scene change."""
        return {one: one._thumbnail for one in self.standing if one._thumbnail is not None}

    def make_due(self, changed: Iterable[Pending]) -> None:
        """Make these due now."""
        for pending in changed:
            pending._is_due = True

    def begin_waiting(self) -> Pending:
        """Run the first waiting question."""
        return self._begin(self.waiting.popleft())

    def begin_standing(self, config: Config, newer_s: float) -> Pending:
        """Run the standing question that has been due longest."""
        due = min(self.standing, key=lambda pending: self._due_s(pending, config, newer_s))
        self.standing.remove(due)
        due.asked_s, due._is_due = time.monotonic(), False
        return self._begin(due)

    def end_running(self, turn: Turn, config: Config) -> Outcome:
        """The running question has finished its turn: it stands or has ended. Returns its final outcome."""
        pending, self.running = self.running, None
        assert pending is not None  # turns end in order
        pending._frame = turn.frame
        if turn.thumbnail is not None:
            pending._thumbnail = turn.thumbnail
        outcome = self._settled(pending, turn.outcome, config)
        if not outcome.is_last:
            self.standing.append(pending)
        return outcome

    def settle_tracked(self, pending: Pending, outcome: Outcome, config: Config) -> Outcome:
        """Masks of an earlier answer on a newer image, which may be the last ones; also while it is asked again."""
        pending._frame = outcome.frame
        outcome = self._settled(pending, outcome, config)
        if outcome.is_last:
            self.drop(pending, "it has ended")
        return outcome

    def _begin(self, pending: Pending) -> Pending:
        self.running = self.taken = pending
        return pending

    def _settled(self, pending: Pending, outcome: Outcome, config: Config) -> Outcome:
        query = pending.question.query
        if pending.dropped_because:
            # A model that noticed the end has a thought, but does not know the reason.
            has_thought = outcome.answer.status is Status.CANCELLED
            outcome = (
                _because(pending, outcome) if has_thought else pending.failed(Status.CANCELLED, pending.dropped_because)
            )
        status = outcome.answer.status
        pending._outcomes += 1
        if status is Status.LOST:
            pending.times_lost += 1
        elif outcome.is_tracked or not is_tracked_on(query.mode, config.stream):
            pending.times_lost = 0
        is_over = (
            query.mode not in STANDING
            or bool(pending.dropped_because)
            or 0 < query.frames <= pending._outcomes
            # A newer one with the same id is already waiting.
            or any(self._replaces(new.question, pending.question) for new in self.waiting)
        )
        if query.mode is Mode.TRACK and status is not Status.OK:
            is_over = is_over or status is not Status.LOST or pending.times_lost > config.query.ask_again
        if status is Status.LOST or not outcome.is_tracked:
            pending._is_due = status is Status.LOST and pending.times_lost <= config.query.ask_again
        return replace(outcome, is_last=is_over)

    @staticmethod
    def _replaces(new: Question, old: Question) -> bool:
        return new.query.mode in STANDING and new.query.query_id == old.query.query_id

    @staticmethod
    def _due_s(pending: Pending, config: Config, newer_s: float) -> float:
        """By the monotonic clock."""
        if pending._is_due:
            return 0.0
        if pending.question.query.mode is Mode.WATCH:
            return pending.asked_s + config.query.watch_period_s
        return newer_s + config.camera.silent_error_s


def _because(pending: Pending, outcome: Outcome) -> Outcome:
    answer, reason = outcome.answer, pending.dropped_because
    stated = reason if answer.error in ("", reason) else f"{reason}: {answer.error}"
    return replace(outcome, result=replace(outcome.result, answer=replace(answer, error=stated)))

"""From a question to its answer on the newest image: what the worker's thread does with one question."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from reasonseg_ros.config import Config
from reasonseg_ros.errors import InvalidInput, OutOfMemory
from reasonseg_ros.live.agenda import Pending
from reasonseg_ros.live.following.propagation import Propagated, Propagator
from reasonseg_ros.live.preparation import Preparation
from reasonseg_ros.live.questions import STANDING, Outcome, Reasoned, Turn, is_tracked_on, other_camera
from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer, thinned
from reasonseg_ros.live.stream.newest_image import NewestImage
from reasonseg_ros.live.stream.scene_change import thumbnail
from reasonseg_ros.live.vitals import Vitals
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Frame, Mode, Segmentation, Status

MOST_LOOKED_BACK_AT = 32
"""Maximum number of images that are decoded for a question about the past; the reasoner sees some of them."""
PAST_IS_GONE = "the stream of images began again after the question, so what happened before is forgotten; ask again"
_LOG = logging.getLogger(__name__)


class Thinker:
    """Answers questions one after the other. For one thread. Without a `propagator` answers stay on their image.

    Attributes:
        frame: the image of the current question; None before it is chosen. May be read from any thread.
    """

    def __init__(
        self,
        method: Method,
        settings: Settings,
        newest: NewestImage,
        buffer: FrameBuffer,
        preparation: Preparation,
        propagator: Propagator | None,
        vitals: Vitals,
    ) -> None:
        self.frame: Frame | None = None
        self._method = method
        self._settings = settings
        self._newest = newest
        self._buffer = buffer
        self._preparation = preparation
        self._propagator = propagator
        self._vitals = vitals

    def answer(self, pending: Pending) -> Turn:
        """Returns the outcome and, if tracking continues, its tracker. Never raises; failures become the status."""
        self.frame = None
        turn = self._answer_or_fail(pending)
        is_compared = pending.question.query.mode is Mode.WATCH and self._settings.now.query.watch_change
        return replace(turn, thumbnail=thumbnail(turn.frame.rgb)) if turn.frame is not None and is_compared else turn

    def _answer_or_fail(self, pending: Pending) -> Turn:
        try:
            return self._answer(pending, pending.times_lost)
        except (OutOfMemory, MemoryError) as error:
            reason = str(error) or "out of memory; use a smaller image or model"
            return self._failed(pending, Status.OUT_OF_MEMORY, reason)
        except Exception as error:
            _LOG.exception("question %s failed", pending.question.query.query_id)
            return self._failed(pending, Status.FAILED, f"{type(error).__name__}: {error}")

    def _failed(self, pending: Pending, status: Status, error: str) -> Turn:
        return Turn(pending.failed(status, error, self.frame), self.frame)

    def _answer(self, pending: Pending, times_lost: int) -> Turn:
        question, restarts = pending.question, self._buffer.restarts
        frame = self.frame = question.frame or self._newest_frame(pending, times_lost)
        if pending.dropped_because:
            return self._failed(pending, Status.CANCELLED, pending.dropped_because)
        config = self._settings.now
        if frame is None:
            reason = self._newest.why_none(config.query.frame_wait_s, *self._limits_s(question.query.mode))
            return self._failed(pending, Status.NO_FRAME, reason)
        if question.query.mode is Mode.HISTORY and restarts != pending.restarts:
            return self._failed(pending, Status.NO_FRAME, PAST_IS_GONE)
        question.on_frame(frame, pending.asked_s)
        self._vitals.begin("segmenting" if question.groundings is not None or question.proposes else "reasoning")
        if question.groundings is not None:
            try:
                groundings = question.groundings(frame.size_wh)
            except InvalidInput as error:
                return self._failed(pending, Status.REFUSED, str(error))
            prompted = replace(self._method.prompt(frame, groundings), query=question.query)
            reasoned = Reasoned((frame,), prompted, config, groundings, self._before(pending, frame, config), restarts)
            return Turn(_outcome(pending, prompted, reasoned), frame)
        if question.proposes:
            proposed = self._method.propose(frame, self._call(pending))
            return Turn(_outcome(pending, replace(proposed, query=question.query)), frame)
        frames = self._past(frame) if question.query.mode is Mode.HISTORY else [frame]
        before = self._before(pending, frames[0], config)
        segmentation = self._reason(pending, frames, config)
        reasoned = Reasoned(tuple(frames), segmentation, config, before=before, restarts=restarts)
        propagated = self._propagate(pending, segmentation, restarts)
        found = propagated.segmentation
        if found.status is Status.LOST and question.query.mode is Mode.HISTORY:
            found = segmentation  # it happened, even if the target is lost now
        if found.status is Status.LOST and question.query.mode is Mode.ONCE and times_lost < config.query.ask_again:
            return self._answer(pending, times_lost + 1)
        return Turn(_outcome(pending, found, reasoned), frame, propagated.tracker, restarts)

    def _before(self, pending: Pending, frame: Frame, config: Config) -> tuple[Arrival, ...]:
        """Images before the frame, for a recording: the buffer may drop them before the answer is ready."""
        record = config.record
        if record.answers == "never" or not record.around_images or pending.question.frame is not None:
            return ()
        first_ns = frame.stamp_ns - int(record.around_s * 1e9)
        return tuple(thinned(self._buffer.between(first_ns, frame.stamp_ns - 1), record.around_images))

    def _reason(self, pending: Pending, frames: list[Frame], config: Config) -> Segmentation:
        question, call = pending.question, self._call(pending)
        call = replace(
            call,
            max_new_tokens=call.max_new_tokens or config.reasoner.max_new_tokens,
            time_limit_s=call.time_limit_s or config.reasoner.time_limit_s,
        )
        if question.query.mode is Mode.HISTORY:
            return self._method.answer_history(frames, question.query, call)
        return self._method.answer(frames[0], question.query, call)

    def _call(self, pending: Pending) -> Call:
        """The question's call, whose tokens and stages count as signs of life."""
        asked = pending.question.call

        def on_stage(stage: str) -> None:
            self._vitals.begin(stage)
            asked.on_stage(stage)

        return replace(asked, cancelled=self._is_dropped(pending), on_stage=on_stage)

    def _is_dropped(self, pending: Pending) -> Callable[[], bool]:
        def is_dropped() -> bool:
            self._vitals.go_on()
            return bool(pending.dropped_because)

        return is_dropped

    def _past(self, newest: Frame) -> list[Frame]:
        """The usable images of the last seconds, oldest first; at least the newest."""
        frames = []
        for arrival in self._buffer.sample(MOST_LOOKED_BACK_AT, self._settings.now.history.seconds):
            try:
                frames.append(arrival.load())
            except InvalidInput:
                continue  # counted where it arrived
        return [frame for frame in frames if not other_camera(frame, newest)] or [newest]

    def _propagate(self, pending: Pending, segmentation: Segmentation, restarts: int) -> Propagated:
        """The answer on the newest image, and a tracker if its targets are tracked from there."""
        stream, propagated = self._settings.now.stream, Propagated(segmentation)
        if self._propagator is None or pending.question.frame is not None or not segmentation.status.has_regions:
            return propagated
        if stream.carry:
            self._vitals.begin("tracking to the newest image")
            pending.question.call.on_stage("catching_up")
            try:
                propagated = self._propagator.propagate(
                    segmentation, self._buffer, stream.catch_up_s, self._is_dropped(pending), restarts
                )
            except Exception as error:
                return _not_propagated(segmentation, error)
        is_unsure = segmentation.status is Status.UNSURE
        if is_unsure or not is_tracked_on(pending.question.query.mode, self._settings.now.stream):
            return replace(propagated, tracker=None)  # an unsure target is shown, but not tracked
        if propagated.tracker is None and propagated.segmentation.status is Status.OK:
            try:
                tracker, tracks = self._propagator.begin(propagated.segmentation)
            except Exception as error:
                return _not_propagated(segmentation, error)
            regions = tuple(
                replace(region, track_id=track.track_id, track_state=track.state)
                for region, track in zip(propagated.segmentation.regions, tracks, strict=True)
            )
            started = replace(propagated.segmentation, regions=regions)
            return replace(propagated, segmentation=started, tracker=tracker)
        return propagated

    def _newest_frame(self, pending: Pending, times_lost: int) -> Frame | None:
        """The newest usable frame; None if there is none in time or the question is dropped."""
        self._vitals.rest()
        deadline_s = time.monotonic() + self._settings.now.query.frame_wait_s
        while True:
            limits_s = self._limits_s(pending.question.query.mode)
            arrival = self._newest.wait(deadline_s, *limits_s, lambda: pending.dropped_because)
            if arrival is None:
                return None
            prepared = self._preparation.frame(arrival, self._settings.now.query)
            if prepared is not None and not times_lost:  # a lost target is searched in another image
                return prepared
            try:
                return arrival.load()
            except InvalidInput as error:
                self._newest.reject(arrival, str(error))

    def _limits_s(self, mode: Mode) -> tuple[float, float]:
        """Maximum stream silence and frame age, seconds.

        A standing question has already been answered about the last image, so it needs a newer one. A question that is
        asked once must not be about the past. One about what happened uses images whose stamps go on, so these count.
        """
        config = self._settings.now
        if mode in STANDING:
            return config.camera.silent_error_s, math.inf
        max_age_s = config.query.image_max_age_s or math.inf
        return (max_age_s, math.inf) if mode is Mode.HISTORY else (math.inf, max_age_s)


def _not_propagated(segmentation: Segmentation, error: Exception) -> Propagated:
    answer = failed(segmentation.answer, "tracking", error)
    return Propagated(replace(segmentation, answer=answer, regions=()))


def _outcome(pending: Pending, segmentation: Segmentation, reasoned: Reasoned | None = None) -> Outcome:
    return Outcome(pending.question, segmentation, time.monotonic() - pending.asked_s, reasoned=reasoned)

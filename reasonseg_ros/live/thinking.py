"""From a question to its answer on the newest image: what the worker's thread does with one request."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from reasonseg_ros.config import Config
from reasonseg_ros.errors import InvalidInput, OutOfMemory
from reasonseg_ros.live.carrying import Carried, Carrier
from reasonseg_ros.live.frame_buffer import FrameBuffer
from reasonseg_ros.live.newest_image import NewestImage
from reasonseg_ros.live.preparation import Preparation
from reasonseg_ros.live.requests import STANDING, Outcome, Request, failed_outcome, is_followed_on
from reasonseg_ros.live.scene_change import thumbnail
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.segmenter.port import Tracker
from reasonseg_ros.types import Frame, Mode, Segmentation, Status

MOST_LOOKED_BACK_AT = 32
"""Images of the past that are decoded for a question about it; the reasoner is shown some of them."""
_LOG = logging.getLogger(__name__)


class Thinker:
    """Answers requests one after the other. For one thread.

    `config` gives the settings of the moment. Without a `carrier` answers stay on the image that was reasoned on.
    """

    def __init__(
        self,
        method: Method,
        config: Callable[[], Config],
        newest: NewestImage,
        buffer: FrameBuffer,
        preparation: Preparation,
        carrier: Carrier | None,
    ) -> None:
        self._method = method
        self._config = config
        self._newest = newest
        self._buffer = buffer
        self._preparation = preparation
        self._carrier = carrier

    def outcome(self, request: Request) -> tuple[Outcome, Tracker | None]:
        """What follows the targets on, and never an error: what goes wrong is the question's status."""
        try:
            return self._answer(request)
        except (OutOfMemory, MemoryError) as error:
            reason = str(error) or "out of memory; use a smaller image or model"
            return failed_outcome(request, Status.OUT_OF_MEMORY, reason), None
        except Exception as error:
            _LOG.exception("question %s failed", request.query.query_id)
            return failed_outcome(request, Status.FAILED, f"{type(error).__name__}: {error}"), None

    def _answer(self, request: Request) -> tuple[Outcome, Tracker | None]:
        request.beginnings = self._buffer.beginnings
        frame = request.seen = request.frame or self._newest_frame(request)
        if request.dropped_because:
            return failed_outcome(request, Status.CANCELLED, request.dropped_because), None
        config = self._method.config = self._config()
        if frame is None:
            reason = self._newest.why_none(config.query.frame_wait_s, *self._limits_s(request))
            return failed_outcome(request, Status.NO_FRAME, reason), None
        if request.query.mode is Mode.WATCH and config.query.watch_change:
            request.thumbnail = thumbnail(frame.rgb)
        if request.groundings is not None:
            try:
                groundings = request.groundings(frame.size_wh)
            except InvalidInput as error:
                return failed_outcome(request, Status.REFUSED, str(error)), None
            segmentation = replace(self._method.prompt(frame, groundings), query=request.query)
            return _outcome(request, segmentation), None
        segmentation = self._reason(request, frame, config)
        carried = self._carry(request, segmentation)
        found = carried.segmentation
        if found.status is Status.LOST and request.query.mode is Mode.HISTORY:
            found = segmentation  # it happened, wherever the target is now
        if found.status is Status.LOST and request.query.mode is Mode.ONCE and request.lost < config.query.ask_again:
            request.lost += 1
            return self._answer(request)
        return _outcome(request, found), carried.tracker

    def _reason(self, request: Request, frame: Frame, config: Config) -> Segmentation:
        call = Call(
            request.max_new_tokens or config.reasoner.max_new_tokens,
            request.time_limit_s or config.reasoner.time_limit_s,
            lambda: bool(request.dropped_because),
            request.on_text,
            request.on_stage,
        )
        if request.query.mode is Mode.HISTORY:
            return self._method.answer_history(self._past(frame), request.query, call)
        return self._method.answer(frame, request.query, call)

    def _past(self, newest: Frame) -> list[Frame]:
        """The images of the last seconds that can be used, oldest first; at least the newest."""
        frames = []
        for arrival in self._buffer.sample(MOST_LOOKED_BACK_AT, self._config().history.seconds):
            try:
                frames.append(arrival.load())
            except InvalidInput:
                continue  # counted where it arrived
        return [frame for frame in frames if frame.size_wh == newest.size_wh] or [newest]

    def _carry(self, request: Request, segmentation: Segmentation) -> Carried:
        """The answer on the newest image, and a tracker where its targets are to be followed on."""
        stream = self._config().stream
        carried = Carried(segmentation, None, 0, 0)
        if self._carrier is None or request.frame is not None or segmentation.status is not Status.OK:
            return carried
        if stream.carry:
            self._carrier.budget_s = stream.catch_up_s
            request.on_stage("catching_up")
            try:
                carried = self._carrier.carry(
                    segmentation, self._buffer, lambda: bool(request.dropped_because), request.beginnings
                )
            except Exception as error:
                return _not_carried(segmentation, error)
        if not is_followed_on(request.query.mode, self._config().stream):
            return replace(carried, tracker=None)
        if carried.tracker is None and carried.segmentation.status is Status.OK:
            try:
                tracker, tracks = self._carrier.begin(carried.segmentation)
            except Exception as error:
                return _not_carried(segmentation, error)
            regions = tuple(
                replace(region, track_id=track.track_id, track_state=track.state)
                for region, track in zip(carried.segmentation.regions, tracks, strict=True)
            )
            return replace(carried, segmentation=replace(carried.segmentation, regions=regions), tracker=tracker)
        return carried

    def _newest_frame(self, request: Request) -> Frame | None:
        """The newest usable frame; None where none comes in time or the request is dropped."""
        deadline_s = time.monotonic() + self._config().query.frame_wait_s
        while True:
            arrival = self._newest.wait(deadline_s, *self._limits_s(request), lambda: request.dropped_because)
            if arrival is None:
                return None
            prepared = self._preparation.frame(arrival, self._config().query)
            if prepared is not None and not request.lost:  # a target that was lost is looked for on another image
                return prepared
            try:
                return arrival.load()
            except InvalidInput as error:
                self._newest.reject(arrival, str(error))

    def _limits_s(self, request: Request) -> tuple[float, float]:
        """After such a silence, and at such an age, the last image is none.

        To who follows it an answer about it would be no news; to who asks once it would be about the past.
        """
        config = self._config()
        if request.query.mode in STANDING:
            return config.camera.silent_error_s, math.inf
        return math.inf, config.query.image_max_age_s or math.inf


def _not_carried(segmentation: Segmentation, error: Exception) -> Carried:
    answer = failed(segmentation.answer, "tracking", error)
    return Carried(replace(segmentation, answer=answer, regions=()), None, 0, 0)


def _outcome(request: Request, segmentation: Segmentation) -> Outcome:
    return Outcome(request, segmentation.answer, segmentation, time.monotonic() - request.asked_s)

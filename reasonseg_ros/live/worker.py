"""Questions about a stream of images: one worker thread behind two slots, the newest image and the waiting questions.

Nothing here blocks the threads that bring images and questions. Every question that comes in ends with exactly one
last outcome; one that is watched or followed has others before it. An answer is carried to the newest image before it
is told, and a second thread follows the targets from there. No ROS.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from reasonseg_ros.config import Config, ReasonerConfig, check
from reasonseg_ros.errors import InvalidInput, OutOfMemory, ReasonSegError
from reasonseg_ros.live.carrying import RESTARTED, Carried, Carrier
from reasonseg_ros.live.following import Follower
from reasonseg_ros.live.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.live.preparation import Preparation
from reasonseg_ros.live.requests import STANDING, Load, Outcome, Request, failure, lost
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.prompts import normalise_question
from reasonseg_ros.segmenter.port import Tracker
from reasonseg_ros.types import FloatArray, Frame, Mode, RgbImage, Segmentation, Status

MAX_ID_CHARACTERS = 256
MOST_LOOKED_BACK_AT = 32
"""Images of the past that are decoded for a question about it; the reasoner is shown some of them."""
CHANGE_PERIOD_S = 0.5
"""Least time between two looks at whether the scene has changed."""
_LOG = logging.getLogger(__name__)


class Worker:
    """Answers requests one after the other with `method`, in a thread of its own.

    A method without trackers leaves answers on the image that was reasoned on, and nothing can be followed.
    """

    def __init__(self, method: SegZero, config: Config) -> None:
        self.method = method
        self.config = config
        stream = config.stream
        self.buffer = FrameBuffer(stream.buffer_s, stream.buffer_mb * 1_000_000, stream.buffer_hz)
        make_tracker = method.make_tracker if isinstance(method, RevSeg) else None
        self._carrier = Carrier(method.segmenter, make_tracker, stream.catch_up_s) if make_tracker else None
        self._follower = Follower(method.segmenter, self._on_masks, stream.follow_hz)
        self._preparation = Preparation(method)
        self._changed = threading.Condition()
        self._newest: Arrival | None = None
        self._newer_s = time.monotonic()
        self._looked_s = 0.0
        self._frame_error = ""
        self._waiting: deque[Request] = deque()
        self._standing: list[Request] = []
        self._running: Request | None = None
        self._taken: Request | None = None
        self._enabled = True
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reasonseg worker", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._follower.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End every request as cancelled, then the thread. False where the model did not let go within the time."""
        with self._changed:
            self._stopping = True
        self.clear("the node stops")
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return self._follower.stop(timeout_s) and not self._thread.is_alive()

    def show(self, arrival: Arrival) -> bool:
        """Take the newest image. It is decoded in the threads that need it.

        False where its stamp is not newer than the last one's: it can be asked about, and nothing is followed to it.
        """
        with self._changed:
            beginnings = self.buffer.beginnings
            is_newer = self.buffer.add(arrival)
            has_restarted = self.buffer.beginnings != beginnings
        if has_restarted:
            self._follower.end_all("the stream of images began again")
            self._preparation.forget()
        with self._changed:
            self._newest = arrival
            if is_newer:
                self._newer_s = time.monotonic()
            if is_newer and self._enabled:
                self._follower.show(arrival)
            self._changed.notify_all()
        return is_newer

    def forget_frames(self) -> None:
        self.buffer.clear()
        self._follower.end_all("the images so far were forgotten")
        self._preparation.forget()
        with self._changed:
            self._newest = None
            self._frame_error = ""

    def enable(self, enabled: bool) -> None:
        """While disabled, new requests are refused, standing questions rest and nothing is followed.

        The running one goes on.
        """
        with self._changed:
            self._enabled = enabled
            self._changed.notify_all()

    def submit(self, request: Request) -> None:
        """Take a request in, or refuse it at once with the reason."""
        dropped: list[Request] = []
        try:
            self._check(request)
            with self._changed:
                self._make_room()
                if self.config.query.policy == "replace":
                    dropped = self._drop_all("replaced by a newer question")
                if request.query.mode in STANDING:
                    dropped += self._drop_same(request)
                self._waiting.append(request)
                self._changed.notify_all()
        except ReasonSegError as error:
            request.tell(failure(request, Status.REFUSED, str(error)))
        self._finish_dropped(dropped)

    def cancel(self, request: Request, reason: str = "cancelled on request") -> None:
        """End one request: at once where it waits, between tokens where it runs."""
        with self._changed:
            request.dropped_because = request.dropped_because or reason
            found = request in self._waiting or request in self._standing
            if request in self._waiting:
                self._waiting.remove(request)
            if request in self._standing:
                self._standing.remove(request)
            self._follower.drop(request)
            self._changed.notify_all()
        if found:
            self._finish_dropped([request])

    def clear(self, reason: str = "cleared on request") -> int:
        """End every waiting, standing and running request. Returns how many there were."""
        with self._changed:
            running = int(self._running is not None)
            dropped = self._drop_all(reason)
            self._changed.notify_all()
        self._finish_dropped(dropped)
        return len(dropped) + running

    def rest(self, timeout_s: float) -> bool:
        """Wait until no question is being answered and the last outcome is told. False where that takes longer."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._running is None, timeout_s):
                return False
            taken = self._taken
        if taken is not None:
            with taken.telling:  # held from the moment that nothing runs until the outcome is told
                pass
        return True

    def load(self) -> Load:
        with self._changed:
            running = self._running.query.query_id if self._running else ""
            followed, size_bytes = len(self._follower.keys()), self.buffer.size_bytes
            return Load(running, len(self._waiting), len(self._standing), followed, size_bytes, self._enabled)

    def _check(self, request: Request) -> None:
        if request.groundings is None:
            normalise_question(request.query.text, self.config.query.max_characters)
        if len(request.query.query_id) > MAX_ID_CHARACTERS:
            raise InvalidInput(f"query_id of {len(request.query.query_id)} characters; at most {MAX_ID_CHARACTERS}")
        if request.query.mode is Mode.TRACK and self._carrier is None:
            raise InvalidInput("mode track: this segmenter cannot follow; use mode once or watch")
        if request.query.mode is Mode.HISTORY and not isinstance(self.method, RevSeg):
            raise InvalidInput("mode history: this method knows one image only; use mode once or watch")
        if request.query.mode is not Mode.ONCE and request.frame is not None:
            raise InvalidInput(f"mode {request.query.mode} with an image of its own; it needs the camera's")
        limits = ReasonerConfig.__dataclass_fields__
        if request.time_limit_s != 0 or math.isnan(request.time_limit_s):
            check("time_limit_s", limits["time_limit_s"], request.time_limit_s)
        check("max_new_tokens", limits["max_new_tokens"], request.max_new_tokens)

    def _make_room(self) -> None:
        query = self.config.query
        if self._stopping:
            raise InvalidInput("the node stops")
        if not self._enabled:
            raise InvalidInput("the node is disabled; call ~/enable with data: true")
        if query.policy == "refuse" and (self._running or self._waiting):
            raise InvalidInput("another question is being answered; ask again later, or set query.policy to queue")
        if query.policy != "replace" and len(self._waiting) + len(self._standing) >= query.queue_size:
            raise InvalidInput(f"{query.queue_size} questions wait or stand already; ask again later, or call ~/clear")

    def _drop_same(self, request: Request) -> list[Request]:
        """A standing question that is sent again under its id takes the old one's place."""
        old = [standing for standing in self._standing if standing.query.query_id == request.query.query_id]
        for standing in old:
            standing.dropped_because = "asked anew under the same query_id"
            self._standing.remove(standing)
            self._follower.drop(standing)
        return old

    def _drop_all(self, reason: str) -> list[Request]:
        dropped = [*self._waiting, *self._standing]
        self._waiting.clear()
        self._standing.clear()
        for request in [*dropped, *([self._running] if self._running else [])]:
            request.dropped_because = request.dropped_because or reason
            self._follower.drop(request)
        return dropped

    @staticmethod
    def _finish_dropped(requests: list[Request]) -> None:
        for request in requests:
            request.tell(failure(request, Status.CANCELLED, request.dropped_because))

    def _run(self) -> None:
        while (request := self._take()) is not None:
            if isinstance(request, Arrival):
                self._preparation.prepare(request, lambda: not (self._waiting or self._stopping))
                continue
            outcome, tracker = self._outcome(request)
            self._preparation.rest()
            with request.telling:
                with self._changed:
                    self._running = None
                    self._changed.notify_all()
                    if tracker is not None and request.beginnings != self.buffer.beginnings:
                        # In between carrying it and now; the follower would wait for ever for a newer stamp.
                        outcome = _lost(outcome, RESTARTED)
                    outcome = self._settle(outcome)
                    if not outcome.is_last:
                        self._standing.append(request)
                    if outcome.is_last or outcome.answer.status in (Status.NO_TARGET, Status.LOST):
                        self._follower.drop(request)
                    elif tracker is not None and outcome.segmentation is not None:
                        self._follower.follow(request, outcome.segmentation, tracker)
                request.tell(outcome)

    def _settle(self, outcome: Outcome) -> Outcome:
        """Whether the request ends with this outcome. Runs under the lock."""
        request, query = outcome.request, outcome.request.query
        if request.dropped_because and outcome.answer.status is not Status.CANCELLED:
            outcome = failure(request, Status.CANCELLED, request.dropped_because)
        status = outcome.answer.status
        request.told += 1
        if status is Status.LOST:
            request.lost += 1
        elif outcome.is_followed or not self._follows(query.mode):
            request.lost = 0
        is_over = (
            query.mode not in STANDING
            or bool(request.dropped_because)
            or 0 < query.frames <= request.told
            # A newer one under the same id waits already.
            or any(new.query.mode in STANDING and new.query.query_id == query.query_id for new in self._waiting)
        )
        if query.mode is Mode.TRACK and status is not Status.OK:
            is_over = is_over or status is not Status.LOST or request.lost > self.config.query.ask_again
        request.is_due = status is Status.LOST and request.lost <= self.config.query.ask_again
        return replace(outcome, is_last=is_over)

    def _on_masks(self, request: Request, segmentation: Segmentation) -> None:
        """The follower's masks of a standing request on a newer image, also while it is being asked again."""
        with request.telling:
            with self._changed:
                if request.dropped_because or not (request in self._standing or request is self._running):
                    return
                masks = Outcome(request, segmentation.answer, segmentation, self._age_s(request), is_followed=True)
                outcome = self._settle(masks)
                if outcome.is_last:
                    request.dropped_because = "it has ended"
                    if request in self._standing:
                        self._standing.remove(request)
                    self._follower.drop(request)
                self._changed.notify_all()
            request.tell(outcome)

    def _take(self) -> Request | Arrival | None:
        """Wait for what is next: new questions, then the standing one that is due longest, then an image to prepare."""
        with self._changed:
            while not self._stopping:
                if self._waiting:
                    self._running = self._taken = self._waiting.popleft()
                    return self._running
                left_s = math.inf
                if self._standing and self._enabled:
                    due = min(self._standing, key=self._due_s)
                    left_s = self._due_s(due) - time.monotonic()
                    if left_s <= 0 or self._has_changed(due):
                        self._standing.remove(due)
                        due.asked_s, due.is_due = time.monotonic(), False
                        self._running = self._taken = due
                        return due
                if self._newest is not None and self._enabled:
                    prepare_s = self._preparation.due_s(self._newest, self.config.query)
                    if prepare_s == 0:
                        return self._newest
                    left_s = min(left_s, prepare_s)
                self._changed.wait(left_s if left_s < threading.TIMEOUT_MAX else None)
            return None

    def _due_s(self, request: Request) -> float:
        if request.is_due:
            return 0.0
        if request.query.mode is Mode.WATCH:
            return request.asked_s + self.config.query.watch_period_s
        return self._newer_s + self.config.camera.silent_error_s

    def _follows(self, mode: Mode) -> bool:
        return mode is Mode.TRACK or (mode is Mode.WATCH and self.config.stream.follow_watched)

    def _has_changed(self, request: Request) -> bool:
        """Whether the newest image differs much from the one when `request` was asked."""
        limit, now_s = self.config.query.watch_change, time.monotonic()
        if not limit or request.query.mode is not Mode.WATCH or request.thumbnail is None or self._newest is None:
            return False
        if now_s < self._looked_s + CHANGE_PERIOD_S:
            return False
        self._looked_s = now_s
        try:
            newest = thumbnail(self._newest.load().rgb)
        except InvalidInput:
            return False
        return float(np.abs(newest - request.thumbnail).mean()) > limit

    @staticmethod
    def _age_s(request: Request) -> float:
        return time.monotonic() - request.asked_s

    def _outcome(self, request: Request) -> tuple[Outcome, Tracker | None]:
        """What follows the targets on, and never an error: what goes wrong is the question's status."""
        try:
            return self._answer(request)
        except (OutOfMemory, MemoryError) as error:
            reason = str(error) or "out of memory; use a smaller image or model"
            return failure(request, Status.OUT_OF_MEMORY, reason), None
        except Exception as error:
            _LOG.exception("question %s failed", request.query.query_id)
            return failure(request, Status.FAILED, f"{type(error).__name__}: {error}"), None

    def _answer(self, request: Request) -> tuple[Outcome, Tracker | None]:
        request.beginnings = self.buffer.beginnings
        frame = request.seen = request.frame or self._newest_frame(request)
        if request.dropped_because:
            return failure(request, Status.CANCELLED, request.dropped_because), None
        if frame is None:
            return failure(request, Status.NO_FRAME, self._no_frame_reason(request)), None
        config = self.method.config = self.config
        if request.query.mode is Mode.WATCH and config.query.watch_change:
            request.thumbnail = thumbnail(frame.rgb)
        if request.groundings is not None:
            try:
                groundings = request.groundings(frame.size_wh)
            except InvalidInput as error:
                return failure(request, Status.REFUSED, str(error)), None
            segmentation = replace(self.method.prompt(frame, groundings), query=request.query)
            return Outcome(request, segmentation.answer, segmentation, self._age_s(request)), None
        limits: dict[str, Any] = {
            "on_text": request.on_text,
            "on_stage": request.on_stage,
            "cancelled": lambda: bool(request.dropped_because),
            "max_new_tokens": request.max_new_tokens or config.reasoner.max_new_tokens,
            "time_limit_s": request.time_limit_s or config.reasoner.time_limit_s,
        }
        if request.query.mode is Mode.HISTORY and isinstance(self.method, RevSeg):
            segmentation = self.method.look_back(self._past(frame), request.query, **limits).segmentation
        else:
            segmentation = self.method.answer(frame, request.query, **limits)
        carried = self._carry(request, segmentation)
        found = carried.segmentation
        if found.status is Status.LOST and request.query.mode is Mode.HISTORY:
            found = segmentation  # it happened, wherever the target is now
        if found.status is Status.LOST and request.query.mode is Mode.ONCE and request.lost < config.query.ask_again:
            request.lost += 1
            return self._answer(request)
        return Outcome(request, found.answer, found, self._age_s(request)), carried.tracker

    def _past(self, newest: Frame) -> list[Frame]:
        """The images of the last seconds that can be used, oldest first; at least the newest."""
        history = self.config.history
        frames = []
        for arrival in self.buffer.sample(MOST_LOOKED_BACK_AT, history.seconds):
            try:
                frames.append(arrival.load())
            except InvalidInput:
                continue  # counted where it arrived
        return [frame for frame in frames if frame.size_wh == newest.size_wh] or [newest]

    def _carry(self, request: Request, segmentation: Segmentation) -> Carried:
        """The answer on the newest image, and a tracker where its targets are to be followed on."""
        stream, mode = self.config.stream, request.query.mode
        if self._carrier is None or request.frame is not None or segmentation.status is not Status.OK:
            return Carried(segmentation, None, 0, 0)
        self._carrier.budget_s = stream.catch_up_s
        carried = Carried(segmentation, None, 0, 0)
        if stream.carry:
            if request.on_stage:
                request.on_stage("catching_up")
            carried = self._carrier.carry(
                segmentation, self.buffer, lambda: bool(request.dropped_because), request.beginnings
            )
        if not self._follows(mode):
            return replace(carried, tracker=None)
        if carried.tracker is None and carried.segmentation.status is Status.OK:
            tracker, tracks = self._carrier.begin(carried.segmentation)
            regions = tuple(
                replace(region, track_id=track.track_id, track_state=track.state)
                for region, track in zip(carried.segmentation.regions, tracks, strict=True)
            )
            return replace(carried, segmentation=replace(carried.segmentation, regions=regions), tracker=tracker)
        return carried

    def _newest_frame(self, request: Request) -> Frame | None:
        """The newest usable frame; None where none comes in time or the request is dropped."""
        deadline_s = time.monotonic() + self.config.query.frame_wait_s
        while True:
            with self._changed:
                while self._newest is None or self._is_stale(request):
                    left_s = deadline_s - time.monotonic()
                    if left_s <= 0 or request.dropped_because:
                        return None
                    self._changed.wait(left_s)
                arrival = self._newest
            prepared = self._preparation.frame(arrival, self.config.query)
            if prepared is not None and not request.lost:  # a target that was lost is looked for on another image
                return prepared
            try:
                return arrival.load()
            except InvalidInput as error:
                with self._changed:
                    self._frame_error = str(error)
                    if self._newest is arrival:
                        self._newest = None

    def _is_stale(self, request: Request) -> bool:
        """Whether the stream has stopped; an answer about its last image would be no news to who follows it."""
        silent_s = time.monotonic() - self._newer_s
        return request.query.mode in STANDING and silent_s >= self.config.camera.silent_error_s

    def _no_frame_reason(self, request: Request) -> str:
        if self._newest is not None and self._is_stale(request):
            silent_s = time.monotonic() - self._newer_s
            return f"no newer image for {silent_s:.1f} s; does the camera still publish, and do its stamps go on?"
        reason = f"no image within {self.config.query.frame_wait_s:g} s; does the camera publish on the image topic?"
        return f"{reason} The last image was not usable: {self._frame_error}" if self._frame_error else reason


def _lost(outcome: Outcome, reason: str) -> Outcome:
    if outcome.segmentation is None:
        return outcome
    segmentation = lost(outcome.segmentation, reason)
    return replace(outcome, answer=segmentation.answer, segmentation=segmentation)


def thumbnail(rgb: RgbImage) -> FloatArray:
    """float32 [24, 32], 0 to 1: an image small enough that its noise is gone."""
    grey = cv2.cvtColor(cv2.resize(rgb, (32, 24), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.float32) / 255.0

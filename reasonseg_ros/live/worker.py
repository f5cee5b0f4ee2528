"""Questions about a stream of images: one worker thread behind two slots, the newest image and the waiting questions.

Nothing here blocks the threads that bring images and questions. Every question that comes in ends with exactly one
last outcome; one that is watched or followed has others before it. An answer is carried to the newest image before it
is told, and a second thread follows the targets from there. No ROS.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from reasonseg_ros.config import Config
from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.live.admission import check_request
from reasonseg_ros.live.agenda import Agenda
from reasonseg_ros.live.carrying import RESTARTED, Carrier
from reasonseg_ros.live.following import Follower
from reasonseg_ros.live.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.live.newest_image import NewestImage
from reasonseg_ros.live.preparation import Preparation
from reasonseg_ros.live.requests import Load, Outcome, Request, failed_outcome, lost
from reasonseg_ros.live.scene_change import SceneChange
from reasonseg_ros.live.thinking import Thinker
from reasonseg_ros.methods.port import MakeTracker, Method
from reasonseg_ros.types import Segmentation, Status


class Worker:
    """Answers requests one after the other with `method`, in a separate thread.

    `make_tracker` makes trackers over the features of the method's segmenter. Without it answers stay on the image
    that was reasoned on, and nothing can be followed.
    """

    def __init__(self, method: Method, config: Config, make_tracker: MakeTracker | None = None) -> None:
        self.method = method
        self.config = config
        stream = config.stream
        self.buffer = FrameBuffer(stream.buffer_s, stream.buffer_mb * 1_000_000, stream.buffer_hz)
        self._carrier = Carrier(method.segmenter, make_tracker, stream.catch_up_s) if make_tracker else None
        self._follower = Follower(method.segmenter, self._on_masks, stream.follow_hz)
        self._preparation = Preparation(method)
        self._scene = SceneChange()
        self._changed = threading.Condition()  # holds all of the following
        self._agenda = Agenda()
        self._newest = NewestImage(self._changed)
        self._enabled = True
        self._stopping = False
        self._thinker = Thinker(
            method, lambda: self.config, self._newest, self.buffer, self._preparation, self._carrier
        )
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
            if is_newer and self._enabled:
                self._follower.show(arrival)
            self._newest.show(arrival, is_newer)
        return is_newer

    def forget_frames(self) -> None:
        self.buffer.clear()
        self._follower.end_all("the images so far were forgotten")
        self._preparation.forget()
        self._newest.forget()

    def enable(self, enabled: bool) -> None:
        """While disabled, new requests are refused, standing questions rest and nothing is followed.

        The running one goes on.
        """
        with self._changed:
            self._enabled = enabled
            self._changed.notify_all()

    def submit(self, request: Request) -> None:
        """Take a request in, or refuse it at once with the reason."""
        ended: list[Request] = []
        try:
            check_request(request, self.config.query, can_follow=self._carrier is not None)
            with self._changed:
                if self._stopping:
                    raise InvalidInput("the node stops")
                if not self._enabled:
                    raise InvalidInput("the node is disabled; call ~/enable with data: true")
                running = self._agenda.running
                ended = self._agenda.admit(request, self.config.query)
                self._follow_no_longer([*ended, running])
                self._changed.notify_all()
        except ReasonSegError as error:
            request.tell(failed_outcome(request, Status.REFUSED, str(error)))
        _tell_dropped(ended)

    def cancel(self, request: Request, reason: str = "cancelled on request") -> None:
        """End one request: at once where it waits, between tokens where it runs."""
        with self._changed:
            has_ended = self._agenda.drop(request, reason)
            self._follower.drop(request)
            self._changed.notify_all()
        if has_ended:
            _tell_dropped([request])

    def clear(self, reason: str = "cleared on request") -> int:
        """End every waiting, standing and running request. Returns how many there were."""
        with self._changed:
            running = self._agenda.running
            ended = self._agenda.drop_all(reason)
            self._follow_no_longer([*ended, running])
            self._changed.notify_all()
        _tell_dropped(ended)
        return len(ended) + (running is not None)

    def rest(self, timeout_s: float) -> bool:
        """Wait until no question is being answered and the last outcome is told. False where that takes longer."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._agenda.running is None, timeout_s):
                return False
            taken = self._agenda.taken
        if taken is not None:
            with taken.telling:  # held from the moment that nothing runs until the outcome is told
                pass
        return True

    def abandon(self, reason: str) -> None:
        """Tell that the running request ended, although the model has not let go of it."""
        with self._changed:
            running = self._agenda.running
        if running is not None:
            running.tell(failed_outcome(running, Status.CANCELLED, reason))

    def load(self) -> Load:
        with self._changed:
            agenda = self._agenda
            running = agenda.running.query.query_id if agenda.running else ""
            followed, size_bytes = len(self._follower.keys()), self.buffer.size_bytes
            return Load(running, len(agenda.waiting), len(agenda.standing), followed, size_bytes, self._enabled)

    def _run(self) -> None:
        while (task := self._next_task()) is not None:
            task()

    def _next_task(self) -> Callable[[], None] | None:
        """What the thread is to do next, as soon as there is something; None ends it."""
        with self._changed:
            while not self._stopping:
                task, left_s = self._task()
                if task is not None:
                    return task
                self._changed.wait(left_s if left_s < threading.TIMEOUT_MAX else None)
            return None

    def _task(self) -> tuple[Callable[[], None] | None, float]:
        """What is to be done now: new questions, then the standing one that is due longest, then images.

        Or None, and the seconds until there may be something. Runs under the lock.
        """
        agenda, newest, config = self._agenda, self._newest.arrival, self.config
        if agenda.waiting:
            return partial(self._ask, agenda.begin_waiting()), 0.0
        if not self._enabled:
            return None, math.inf
        ask_s = agenda.due_s(config, self._newest.newer_s)
        if ask_s <= 0:
            return partial(self._ask, agenda.begin_standing(config, self._newest.newer_s)), 0.0
        look_s = self._scene.due_s(newest, agenda.standing, config.query.watch_change)
        if newest is not None and look_s <= 0:
            return partial(self._look, newest, list(agenda.standing)), 0.0
        prepare_s = self._preparation.due_s(newest, config.query)
        if newest is not None and prepare_s <= 0:
            return partial(self._preparation.prepare, newest, self._is_idle), 0.0
        return None, min(ask_s, look_s, prepare_s)

    def _is_idle(self) -> bool:
        return not (self._agenda.waiting or self._stopping)

    def _look(self, newest: Arrival, standing: list[Request]) -> None:
        """Standing questions whose scene has changed are due."""
        changed = self._scene.look(newest, standing, self.config.query.watch_change)
        with self._changed:
            for request in changed:
                request.is_due = True

    def _ask(self, request: Request) -> None:
        """Come to an answer, and tell it."""
        outcome, tracker = self._thinker.outcome(request)
        self._preparation.rest()
        with request.telling:
            with self._changed:
                if tracker is not None and request.beginnings != self.buffer.beginnings:
                    # In between carrying it and now; the follower would wait for ever for a newer stamp.
                    outcome = _lost(outcome, RESTARTED)
                outcome = self._agenda.end_running(outcome, self.config)
                if outcome.is_last or outcome.answer.status in (Status.NO_TARGET, Status.LOST):
                    self._follower.drop(request)
                elif tracker is not None and outcome.segmentation is not None:
                    self._follower.follow(request, outcome.segmentation, tracker)
                self._changed.notify_all()
            request.tell(outcome)

    def _on_masks(self, request: Request, segmentation: Segmentation) -> None:
        """The follower's masks of a standing request on a newer image, also while it is being asked again."""
        with request.telling:
            with self._changed:
                if request.dropped_because or request not in self._agenda:
                    return
                age_s = time.monotonic() - request.asked_s
                masks = Outcome(request, segmentation.answer, segmentation, age_s, is_followed=True)
                outcome = self._agenda.settle_followed(masks, self.config)
                if outcome.is_last:
                    self._follower.drop(request)
                self._changed.notify_all()
            request.tell(outcome)

    def _follow_no_longer(self, requests: list[Request | None]) -> None:
        for request in requests:
            if request is not None and request.dropped_because:
                self._follower.drop(request)


def _tell_dropped(requests: list[Request]) -> None:
    for request in requests:
        request.tell(failed_outcome(request, Status.CANCELLED, request.dropped_because))


def _lost(outcome: Outcome, reason: str) -> Outcome:
    if outcome.segmentation is None:
        return outcome
    segmentation = lost(outcome.segmentation, reason)
    return replace(outcome, answer=segmentation.answer, segmentation=segmentation)

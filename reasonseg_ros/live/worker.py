"""Questions about a stream of images: one worker thread behind two slots, the newest image and the waiting questions.

Nothing here blocks the threads that deliver images and questions. Every question ends with exactly one last outcome; a
question that is watched or tracked has others before it. An answer is propagated to the newest image before it is
delivered, and a second thread tracks the targets from there. A third thread detects when one of the two hangs. No ROS.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.live.admission import check_question
from reasonseg_ros.live.agenda import Agenda, Pending
from reasonseg_ros.live.following.propagation import RESTARTED, Propagator
from reasonseg_ros.live.following.tracking import TargetTracking
from reasonseg_ros.live.preparation import Preparation
from reasonseg_ros.live.questions import Load, Outcome, Question, Turn, failed_outcome, lost
from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.live.stream.newest_image import NewestImage
from reasonseg_ros.live.stream.scene_change import SceneChange
from reasonseg_ros.live.thinking import Thinker
from reasonseg_ros.live.vitals import Vitals
from reasonseg_ros.methods.port import MakeTracker, Method
from reasonseg_ros.types import FloatArray, Segmentation, Status

WATCH_S = 0.5
"""Period of checking for a hanging model."""
_LOG = logging.getLogger(__name__)


class Worker:
    """Answers questions one after the other with `method`, in a separate thread, by the method's settings.

    `make_tracker` creates trackers over the features of the method's segmenter. Without it answers stay on the image
    that was reasoned on, and nothing can be tracked.
    """

    def __init__(self, method: Method, make_tracker: MakeTracker | None = None) -> None:
        self.method = method
        self._settings = method.settings
        stream = self._settings.now.stream
        self.buffer = FrameBuffer(stream.buffer_s, stream.buffer_mb * 1_000_000, stream.buffer_hz)
        self._propagator = Propagator(method.segmenter, make_tracker) if make_tracker else None
        self._tracking: TargetTracking[Pending] = TargetTracking(method.segmenter, self._on_masks, stream.follow_hz)
        self._preparation = Preparation(method)
        self._scene = SceneChange()
        self._changed = threading.Condition()  # guards all of the following
        self._agenda = Agenda()
        self._newest = NewestImage(self._changed)
        self._enabled = True
        self._stopping = False
        self._hang = ""
        self._vitals = Vitals()
        self._thinker = Thinker(
            method, self._settings, self._newest, self.buffer, self._preparation, self._propagator, self._vitals
        )
        # Separate from the condition, which every image notifies, so that images do not wake the watchdog.
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reasonseg worker", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="reasonseg watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._tracking.start()
        self._watcher.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End every question as cancelled, then the thread. False if the model did not stop in time."""
        with self._changed:
            self._stopping = True
        self._stopped.set()
        self.clear("the node stops")
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return self._tracking.stop(timeout_s) and not self._thread.is_alive()

    def show(self, arrival: Arrival) -> bool:
        """Take the newest image. It is decoded in the threads that need it.

        False if its stamp is not newer than the last one's: questions can use it, but nothing is tracked to it.
        """
        with self._changed:
            restarts = self.buffer.restarts
            is_newer = self.buffer.add(arrival)
            has_restarted = self.buffer.restarts != restarts
        if has_restarted:
            self._tracking.end_all("the stream of images began again")
            self._preparation.forget()
        with self._changed:
            if is_newer and self._enabled:
                self._tracking.show(arrival)
            self._newest.show(arrival, is_newer)
        return is_newer

    def forget_frames(self) -> None:
        self.buffer.clear()
        self._tracking.end_all("the images so far were forgotten")
        self._newest.forget()
        self._preparation.forget()  # after the last use of the image that might be prepared

    def enable(self, enabled: bool) -> None:
        """While disabled, new questions are refused, standing ones rest, and nothing is tracked.

        The running one continues.
        """
        with self._changed:
            self._enabled = enabled
            self._changed.notify_all()

    def submit(self, question: Question) -> None:
        """Accept a question, or refuse it at once with the reason."""
        ended: list[Pending] = []
        try:
            can_track, sees_videos = self._propagator is not None, self.method.sees_videos
            check_question(question, self._settings.now.query, can_track, sees_videos)
            with self._changed:
                if self._stopping:
                    raise InvalidInput("the node stops")
                if self._hang:
                    raise InvalidInput(self._hang)
                if not self._enabled:
                    raise InvalidInput("the node is disabled; call ~/enable with data: true")
                ended = self._agenda.admit(question, self._settings.now.query, self.buffer.restarts)
                self._stop_tracking(ended)
                self._changed.notify_all()
        except ReasonSegError as error:
            question.on_outcome(failed_outcome(question, Status.REFUSED, str(error)))
        _deliver_dropped(ended)

    def cancel(self, question: Question, reason: str = "cancelled on request") -> None:
        """End one question: at once if it is waiting or standing, between tokens if it is running."""
        with self._changed:
            pending = self._agenda.find(question)
            if pending is None:
                return
            has_ended = self._agenda.drop(pending, reason)
            self._tracking.drop(pending)
            self._changed.notify_all()
        if has_ended:
            _deliver_dropped([pending])

    def clear(self, reason: str = "cleared on request") -> int:
        """End every waiting, standing and running question. Returns their number."""
        with self._changed:
            running = self._agenda.running
            ended = self._agenda.drop_all(reason)
            self._stop_tracking(ended)
            self._changed.notify_all()
        _deliver_dropped(ended)
        return len(ended) + (running is not None)

    def rest(self, timeout_s: float) -> bool:
        """Wait until no question is being answered and the last outcome is delivered. False if that takes longer."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._agenda.running is None, timeout_s):
                return False
            taken = self._agenda.taken
        if taken is not None:
            with taken.delivery.in_order:  # held until the outcome is delivered
                pass
        return True

    def abandon(self, reason: str) -> None:
        """Report that the running question ended, although the model is still busy with it."""
        with self._changed:
            running = self._agenda.running
        if running is not None:
            running.delivery.deliver(running.failed(Status.CANCELLED, reason, self._thinker.frame))

    def load(self) -> Load:
        with self._changed:
            agenda = self._agenda
            running = agenda.running.question.query.query_id if agenda.running else ""
            tracked, size_bytes = len(self._tracking.keys()), self.buffer.size_bytes
            waiting, standing = len(agenda.waiting), len(agenda.standing)
            return Load(running, waiting, standing, tracked, size_bytes, self._enabled, self._hang)

    def _run(self) -> None:
        while (task := self._next_task()) is not None:
            task()
            self._vitals.rest()

    def _watch(self) -> None:
        """End all questions when a model hangs, and refuse new ones until it continues."""
        while not self._stopped.wait(WATCH_S):
            with self._changed:
                limit_s = self._settings.now.query.hang_s
                found = self._vitals.hang(limit_s) or self._tracking.vitals.hang(limit_s)
                has_hung, self._hang = bool(self._hang), f"the model hangs: {found}; restart the node" if found else ""
                running, ended = self._agenda.running, []
                if self._hang and not has_hung:
                    ended = [*self._agenda.drop_all(self._hang), *([running] if running else [])]
                    self._stop_tracking(ended)
            if bool(found) is not has_hung:
                _LOG.error("%s", self._hang or "the model goes on; questions are taken again")
            for pending in ended:
                frame = self._thinker.frame if pending is running else None
                is_cancelled = pending.dropped_because != self._hang  # by a caller that waits for the model to notice
                status = Status.CANCELLED if is_cancelled else Status.FAILED
                pending.delivery.deliver(pending.failed(status, pending.dropped_because, frame))

    def _next_task(self) -> Callable[[], None] | None:
        """Waits for the next task of the thread; None ends it."""
        with self._changed:
            while not self._stopping:
                task, left_s = self._task()
                if task is not None:
                    return task
                self._changed.wait(left_s if left_s < threading.TIMEOUT_MAX else None)
            return None

    def _task(self) -> tuple[Callable[[], None] | None, float]:
        """The next task: a new question, else the standing one that has been due longest, else work on an image.

        Without a task, the seconds until there may be one. Needs the lock.
        """
        agenda, newest, config = self._agenda, self._newest.arrival, self._settings.now
        if agenda.waiting:
            return partial(self._ask, agenda.begin_waiting()), 0.0
        if not self._enabled:
            return None, math.inf
        ask_s = agenda.due_s(config, self._newest.newer_s)
        if ask_s <= 0:
            return partial(self._ask, agenda.begin_standing(config, self._newest.newer_s)), 0.0
        scenes = agenda.scenes()
        look_s = self._scene.due_s(newest, scenes, config.query.watch_change)
        if newest is not None and look_s <= 0:
            return partial(self._look, newest, scenes), 0.0
        prepare_s = self._preparation.due_s(newest, config.query)
        if newest is not None and prepare_s <= 0:
            return partial(self._prepare, newest), 0.0
        return None, min(ask_s, look_s, prepare_s)

    def _prepare(self, newest: Arrival) -> None:
        self._vitals.begin("preparing an image")
        self._preparation.prepare(newest, self._is_idle)

    def _is_idle(self) -> bool:
        self._vitals.go_on()
        return not (self._agenda.waiting or self._stopping)

    def _look(self, newest: Arrival, scenes: Mapping[Pending, FloatArray]) -> None:
        """Make standing questions due if their scene changed."""
        changed = self._scene.look(newest, scenes, self._settings.now.query.watch_change)
        with self._changed:
            self._agenda.make_due(changed)

    def _ask(self, pending: Pending) -> None:
        """Find an answer, and deliver it."""
        turn = self._thinker.answer(pending)
        self._preparation.rest()
        with pending.delivery.in_order:
            with self._changed:
                if turn.tracker is not None and turn.restarts != self.buffer.restarts:
                    # The stream restarted after the answer was propagated. Tracking would wait for a newer stamp.
                    turn = _lost(turn, RESTARTED)
                outcome = self._agenda.end_running(turn, self._settings.now)
                if outcome.is_last or outcome.answer.status in (Status.NO_TARGET, Status.UNSURE, Status.LOST):
                    self._tracking.drop(pending)
                elif turn.tracker is not None and outcome.segmentation is not None:
                    self._tracking.track(pending, outcome.segmentation, turn.tracker)
                self._changed.notify_all()
            pending.delivery.deliver(outcome)

    def _on_masks(self, pending: Pending, segmentation: Segmentation) -> None:
        """Masks of a standing question on a newer image, also while it is being asked again."""
        with pending.delivery.in_order:
            with self._changed:
                if pending.dropped_because or pending not in self._agenda:
                    return
                age_s = time.monotonic() - pending.asked_s
                masks = Outcome(pending.question, segmentation, age_s, is_tracked=True)
                outcome = self._agenda.settle_tracked(pending, masks, self._settings.now)
                if outcome.is_last:
                    self._tracking.drop(pending)
                self._changed.notify_all()
            pending.delivery.deliver(outcome)

    def _stop_tracking(self, ended: Iterable[Pending]) -> None:
        """Also for the running question, if it has to end."""
        running = self._agenda.running
        for pending in [*ended, *([running] if running and running.dropped_because else [])]:
            self._tracking.drop(pending)


def _deliver_dropped(ended: Iterable[Pending]) -> None:
    for pending in ended:
        pending.delivery.deliver(pending.failed(Status.CANCELLED, pending.dropped_because))


def _lost(turn: Turn, reason: str) -> Turn:
    segmentation = turn.outcome.segmentation
    if segmentation is None:
        return turn
    return replace(turn, outcome=replace(turn.outcome, result=lost(segmentation, reason)))

"""Questions about a stream of images: one worker thread behind two slots, the newest frame and the waiting questions.

Nothing here blocks the threads that bring frames and questions. Every question that comes in gets exactly one
outcome (a watched one gets one each time it is asked, and a last one when it is dropped). No ROS.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from reasonseg_ros.config import Config, ReasonerConfig, check
from reasonseg_ros.errors import InvalidInput, OutOfMemory, ReasonSegError
from reasonseg_ros.methods.seg_zero import OnStage, SegZero
from reasonseg_ros.reasoner.port import OnText
from reasonseg_ros.reasoner.prompts import normalise_question
from reasonseg_ros.types import Answer, Frame, Grounding, Mode, Query, Segmentation, Status

MAX_ID_CHARACTERS = 256
_LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class Request:
    """One question, or one set of prompts, on its way.

    Attributes:
        on_done: called once for each time it was asked, from any thread; must return quickly.
        frame: the image to look at; None takes the newest one when its turn comes.
        groundings: makes the boxes and points to segment without the reasoner, for the frame's width and height; may
            raise InvalidInput. None asks the reasoner.
        max_new_tokens, time_limit_s: 0 means the configured limit.
        seen: the frame that was looked at last; set by the worker.
        dropped_because: why it shall end; empty while it shall go on.
    """

    query: Query
    on_done: Callable[[Outcome], None]
    frame: Frame | None = None
    groundings: Callable[[tuple[int, int]], tuple[Grounding, ...]] | None = None
    max_new_tokens: int = 0
    time_limit_s: float = 0.0
    on_text: OnText | None = None
    on_stage: OnStage | None = None
    asked_s: float = field(default_factory=time.monotonic)
    seen: Frame | None = None
    dropped_because: str = ""


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a request ended. `segmentation` is None where no frame was looked at."""

    request: Request
    answer: Answer
    segmentation: Segmentation | None
    total_s: float

    @property
    def frame(self) -> Frame | None:
        return self.segmentation.frame if self.segmentation else self.request.seen


@dataclass(frozen=True)
class Load:
    """What the worker is at."""

    running: str
    waiting: int
    standing: int
    enabled: bool


def failure(request: Request, status: Status, error: str) -> Outcome:
    """The outcome of a request that did not get to an answer."""
    return Outcome(request, Answer(status, error=error), None, time.monotonic() - request.asked_s)


class Worker:
    """Answers requests one after the other with `method`, in a thread of its own."""

    def __init__(self, method: SegZero, config: Config) -> None:
        self.method = method
        self.config = config
        self._changed = threading.Condition()
        self._load_frame: Callable[[], Frame] | None = None
        self._frame_error = ""
        self._waiting: deque[Request] = deque()
        self._standing: list[Request] = []
        self._running: Request | None = None
        self._enabled = True
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reasonseg worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End every request as cancelled, then the thread. False where the model did not let go within the time."""
        with self._changed:
            self._stopping = True
        self.clear("the node stops")
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def show(self, load_frame: Callable[[], Frame]) -> None:
        """Put the newest frame into its slot. `load_frame` runs in the worker and may raise InvalidInput."""
        with self._changed:
            self._load_frame = load_frame
            self._changed.notify_all()

    def forget_frame(self) -> None:
        with self._changed:
            self._load_frame = None
            self._frame_error = ""

    def enable(self, enabled: bool) -> None:
        """While disabled, new requests are refused and standing questions rest; the running one goes on."""
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
                if request.query.mode is Mode.WATCH:
                    self._standing = [old for old in self._standing if old.query.query_id != request.query.query_id]
                self._waiting.append(request)
                self._changed.notify_all()
        except ReasonSegError as error:
            request.on_done(failure(request, Status.REFUSED, str(error)))
        self._finish_dropped(dropped)

    def cancel(self, request: Request, reason: str = "cancelled on request") -> None:
        """End one request: at once where it waits, between tokens where it runs."""
        with self._changed:
            request.dropped_because = reason
            found = request in self._waiting or request in self._standing
            if request in self._waiting:
                self._waiting.remove(request)
            if request in self._standing:
                self._standing.remove(request)
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

    def load(self) -> Load:
        with self._changed:
            running = self._running.query.query_id if self._running else ""
            return Load(running, len(self._waiting), len(self._standing), self._enabled)

    def _check(self, request: Request) -> None:
        if request.groundings is None:
            normalise_question(request.query.text, self.config.query.max_characters)
        if len(request.query.query_id) > MAX_ID_CHARACTERS:
            raise InvalidInput(f"query_id of {len(request.query.query_id)} characters; at most {MAX_ID_CHARACTERS}")
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
        if query.policy == "queue" and len(self._waiting) + len(self._standing) >= query.queue_size:
            raise InvalidInput(f"{query.queue_size} questions wait already; ask again later, or call ~/clear")

    def _drop_all(self, reason: str) -> list[Request]:
        dropped = [*self._waiting, *self._standing]
        self._waiting.clear()
        self._standing.clear()
        for request in [*dropped, *([self._running] if self._running else [])]:
            request.dropped_because = reason
        return dropped

    @staticmethod
    def _finish_dropped(requests: list[Request]) -> None:
        for request in requests:
            request.on_done(failure(request, Status.CANCELLED, request.dropped_because))

    def _run(self) -> None:
        while (request := self._take()) is not None:
            outcome = self._outcome(request)
            with self._changed:
                self._running = None
                if self._stands(request):
                    self._standing.append(request)
            request.on_done(outcome)

    def _stands(self, request: Request) -> bool:
        """Whether it is to be asked again: watched, not dropped, and not sent anew under the same id meanwhile."""
        if request.query.mode is not Mode.WATCH or request.dropped_because:
            return False
        newer = (new.query for new in self._waiting)
        return not any(query.mode is Mode.WATCH and query.query_id == request.query.query_id for query in newer)

    def _take(self) -> Request | None:
        """Wait for the next request: new questions first, then the standing one that is due longest."""
        with self._changed:
            while not self._stopping:
                if self._waiting:
                    self._running = self._waiting.popleft()
                    return self._running
                left_s = None
                if self._standing and self._enabled:
                    due = min(self._standing, key=lambda standing: standing.asked_s)
                    left_s = due.asked_s + self.config.query.watch_period_s - time.monotonic()
                    if left_s <= 0:
                        self._standing.remove(due)
                        due.asked_s = time.monotonic()
                        self._running = due
                        return due
                self._changed.wait(left_s)
            return None

    def _outcome(self, request: Request) -> Outcome:
        """Never raises: whatever goes wrong with one question is its status, and the next one is answered."""
        try:
            return self._answer(request)
        except (OutOfMemory, MemoryError) as error:
            return failure(request, Status.OUT_OF_MEMORY, str(error) or "out of memory; use a smaller image or model")
        except Exception as error:
            _LOG.exception("question %s failed", request.query.query_id)
            return failure(request, Status.FAILED, f"{type(error).__name__}: {error}")

    def _answer(self, request: Request) -> Outcome:
        frame = request.seen = request.frame or self._newest_frame(request)
        if request.dropped_because:
            return failure(request, Status.CANCELLED, request.dropped_because)
        if frame is None:
            return failure(request, Status.NO_FRAME, self._no_frame_reason())
        config = self.method.config = self.config
        if request.groundings is not None:
            try:
                groundings = request.groundings(frame.size_wh)
            except InvalidInput as error:
                return failure(request, Status.REFUSED, str(error))
            segmentation = replace(self.method.prompt(frame, groundings), query=request.query)
        else:
            segmentation = self.method.answer(
                frame,
                request.query,
                on_text=request.on_text,
                on_stage=request.on_stage,
                cancelled=lambda: bool(request.dropped_because),
                max_new_tokens=request.max_new_tokens or config.reasoner.max_new_tokens,
                time_limit_s=request.time_limit_s or config.reasoner.time_limit_s,
            )
        return Outcome(request, segmentation.answer, segmentation, time.monotonic() - request.asked_s)

    def _newest_frame(self, request: Request) -> Frame | None:
        """The newest usable frame; None where none comes in time or the request is dropped."""
        deadline_s = time.monotonic() + self.config.query.frame_wait_s
        while True:
            with self._changed:
                while self._load_frame is None:
                    left_s = deadline_s - time.monotonic()
                    if left_s <= 0 or request.dropped_because:
                        return None
                    self._changed.wait(left_s)
                load_frame = self._load_frame
            try:
                return load_frame()
            except InvalidInput as error:
                with self._changed:
                    self._frame_error = str(error)
                    if self._load_frame is load_frame:
                        self._load_frame = None

    def _no_frame_reason(self) -> str:
        reason = f"no image within {self.config.query.frame_wait_s:g} s; does the camera publish on the image topic?"
        return f"{reason} The last image was not usable: {self._frame_error}" if self._frame_error else reason

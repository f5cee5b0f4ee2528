"""Records answers in a separate thread, so that questions and answers never wait for it.

The newest answers are kept in memory, so that one that turns out to be wrong can be flagged and recorded later.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from reasonseg_ros.config import Config
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import reason
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.reasoner.call import ignore
from reasonseg_ros.recording.content import HISTORY, PROMPT, QUESTION, BlackBox, SentMessage
from reasonseg_ros.recording.folder import BoundedFolder, file_name
from reasonseg_ros.recording.kept_answer import KeptAnswer, OnRecorded, is_of_camera
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Frame, Mode

QUEUE = 8
"""Maximum number of answers that wait for the thread. Further ones are not recorded, but counted."""


@dataclass
class RecordHealth:
    """Counts of recorded and lost answers. Written by the recorder's thread, read by any."""

    folder: str = ""
    written: int = 0
    used_bytes: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    last_problem: str = ""


class Recorder:
    """Keeps and records answers according to the `record.*` settings. `buffer` has the images around them.

    `on_problem` is called with the reason why an answer was not recorded, usually from the recorder's thread.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        node: str,
        buffer: FrameBuffer,
        health: RecordHealth,
        on_problem: Callable[[str], None] = ignore,
    ) -> None:
        self.folder = BoundedFolder(folder)
        self._settings = settings
        self._node = node
        self._buffer = buffer
        self._health = health
        self._on_problem = on_problem
        self._conditions: dict[str, Any] | None = None
        self._changed = threading.Condition()  # guards all of the following
        self._waiting: deque[KeptAnswer] = deque()
        self._kept: deque[KeptAnswer] = deque()
        self._flagged: deque[KeptAnswer] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reasonseg recorder", daemon=True)
        health.folder = str(folder)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 3.0) -> bool:
        """Record the waiting answers without further images, and end the thread. False if that exceeds the timeout."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def take(self, outcome: Outcome, published: Sequence[SentMessage] = ()) -> None:
        """Keep an answer, and record it if the settings say so. Returns at once; from any thread."""
        config = self._settings.now
        if config.record.answers == "never" or outcome.is_repeated:
            return
        now = datetime.now(timezone.utc)
        recorded = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
        reasoned = outcome.reasoned
        answered = KeptAnswer(
            outcome, published, reasoned.config if reasoned else config, recorded,
            due_s=time.monotonic() + (config.record.around_s if is_of_camera(outcome) else 0.0),
            restarts=reasoned.restarts if reasoned else self._buffer.restarts,
            before=reasoned.before if reasoned else (),
        )  # fmt: skip
        asked_for = config.record.answers
        answered.is_wanted = asked_for == "all" or (asked_for == "failed" and answered.has_failed)
        with self._changed:
            if len(self._waiting) < QUEUE and not self._stopping:
                self._waiting.append(answered)
                self._changed.notify_all()
                return
        if answered.is_wanted:
            self._lost("the queue was full", f"{outcome.question.query.query_id}: {QUEUE} answers wait to be recorded")

    def flag(self, query_id: str, note: str, on_recorded: OnRecorded) -> None:
        """Record the newest answer to this question (empty: to any question), whatever its status. From any thread."""
        with self._changed:
            known = [*self._kept, *self._waiting]
            found = next((one for one in reversed(known) if query_id in ("", one.query_id)), None)
            if found is not None and not self._stopping:
                found.is_flagged, found.note = True, note
                found.on_recorded.append(on_recorded)
                if found in self._kept:
                    self._flagged.append(found)
                self._changed.notify_all()
                return
        if self._settings.now.record.answers == "never":
            why = "no answer is kept; set record.answers to flagged, failed or all before asking"
        else:
            ids = ", ".join(dict.fromkeys(one.query_id for one in known)) or "none"
            why = f"no answer to {query_id!r:.80} is in memory; there are answers to {ids:.300}"
        on_recorded("", why)

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # on Linux, a thread has its own priority
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        if self._settings.now.record.answers != "never":
            self._prepare()
        while (answered := self._next()) is not None:
            self._settle(answered)

    def _prepare(self) -> None:
        """Import libraries and hash the models' files in advance, as this takes seconds."""
        try:
            self.folder.remove_half_written()
            self._conditions_now(self._settings.now)
            from reasonseg_ros.recording import writing

            del writing
        except Exception as error:  # the first answer reports it again
            self._on_problem(_why(error))

    def _next(self) -> KeptAnswer | None:
        """Wait for the next answer that is due; None ends the thread."""
        with self._changed:
            while True:
                if self._flagged:
                    return self._flagged.popleft()
                now_s = time.monotonic()
                if self._waiting and (self._stopping or self._waiting[0].due_s <= now_s):
                    answered = self._waiting.popleft()
                    answered.look_around(self._buffer)
                    self._keep(answered)
                    return answered
                if self._stopping:
                    return None
                self._changed.wait(self._waiting[0].due_s - now_s if self._waiting else None)

    def _keep(self, answered: KeptAnswer) -> None:
        record = self._settings.now.record
        self._kept.append(answered)
        while len(self._kept) > 1 and (
            len(self._kept) > record.kept_answers
            or sum(one.size_bytes for one in self._kept) > record.kept_mb * 1_000_000
        ):
            self._kept.popleft()

    def _settle(self, answered: KeptAnswer) -> None:
        """Record the answer if it is wanted, and call its `on_recorded`. Never raises."""
        path, problem = "", ""
        with self._changed:
            is_wanted = answered.is_wanted or answered.is_flagged
            waiting, answered.on_recorded = answered.on_recorded, []
        if is_wanted:
            try:
                path = str(self._write(answered))
            except Exception as error:
                problem = _why(error)
                self._lost(_kind(error), f"{answered.query_id}: {problem}")
        for on_recorded in waiting:
            on_recorded(path, problem)

    def _write(self, answered: KeptAnswer) -> Path:
        from reasonseg_ros.recording.writing import black_box_bytes  # its libraries are optional for the node

        outcome = answered.outcome
        around = [frame for one in (*answered.before, *answered.after) if (frame := _loaded(one)) is not None]
        if outcome.frame is not None:
            around.append(outcome.frame)
        data = black_box_bytes(
            self._black_box(answered), {frame.stamp_ns: frame for frame in around}.values(), answered.published
        )
        name = file_name(answered.recorded, str(outcome.answer.status), answered.query_id)
        path = self.folder.keep(name, data, self._settings.now.record.max_mb * 1_000_000)
        self._health.written += 1
        self._health.used_bytes = sum(self.folder.files().values())
        return path

    def _black_box(self, answered: KeptAnswer) -> BlackBox:
        from reasonseg_ros.recording.conditions import settings_of

        outcome, reasoned = answered.outcome, answered.outcome.reasoned
        query, call = outcome.question.query, outcome.question.call
        asked = ""
        if reasoned is not None:
            asked = PROMPT if reasoned.prompts else HISTORY if query.mode is Mode.HISTORY else QUESTION
        answered_ns = reasoned.segmentation.frame.stamp_ns if reasoned else -1
        frames = [one if one.stamp_ns == answered_ns else _flat(one) for one in answered.frames]
        return BlackBox(
            query, asked, tuple(frames), reasoned.segmentation if reasoned else None,
            str(outcome.answer.status), outcome.answer.error, reasoned.prompts if reasoned else (),
            call.max_new_tokens, call.time_limit_s, settings_of(answered.config),
            self._conditions_now(answered.config),
            answered.recorded, self._node, answered.is_flagged, answered.note,
        )  # fmt: skip

    def _conditions_now(self, config: Config) -> dict[str, Any]:
        """The conditions of the models. Cached, because they do not change while the node is configured."""
        from reasonseg_ros.recording.conditions import conditions_of

        if self._conditions is None:
            self._conditions = conditions_of(config)
        return self._conditions

    def _lost(self, kind: str, problem: str) -> None:
        self._health.lost[kind] += 1
        self._health.last_problem = problem
        self._on_problem(problem)


def _loaded(arrival: Arrival) -> Frame | None:
    try:
        return (arrival.load_image or arrival.load)()
    except InvalidInput:
        return None  # counted on arrival


def _flat(frame: Frame) -> Frame:
    """The frame without depth, lens and pose, which are only needed for the answered frame."""
    return replace(frame, depth_m=None, intrinsics=None, camera_pose=None)


def _kind(error: Exception) -> str:
    """A short name, the same for each problem of a kind."""
    if isinstance(error, OSError):
        return error.strerror or "the disk"
    return "larger than record.max_mb" if isinstance(error, InvalidInput) else type(error).__name__


def _why(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error}; recording needs `pip install mcap rosbags`"
    return reason(error)

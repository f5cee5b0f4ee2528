"""The content of /diagnostics: the camera with its dropped frames, the questions, the node with its models."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from reasonseg_ros.config import CameraConfig
from reasonseg_ros.live.questions import Load, Outcome
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.reasoner.known_picture import PictureResult
from reasonseg_ros.ros.process import memory
from reasonseg_ros.ros.twins import REMEDY
from reasonseg_ros.types import Status

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_NO_FAULT = (Status.UNSURE, Status.REFUSED, Status.CANCELLED)
"""Statuses without an answer that are not the node's fault."""
_RATE_WINDOW = 30
DARK_REMEDY = "no 16-bit value reaches 4096, and 65535 is white; shift the values up, or publish mono8"
MUCH_LOST, FEW_LOST = 0.2, 3
"""A minimum share of lost images is needed for a warning, not only a few of them."""

MANY_RESTARTS = 3
"""Restarts between two messages that a looping bag or a clock that was set do not explain."""


class CameraHealth:
    """Counts frames, and dropped frames by reason. Times are of the machine's steady clock.

    Attributes:
        is_best_effort: whether it is subscribed with best effort.
        lost: images that were lost between publisher and node.
        restarts: how often stamps or simulated time went back, so that the stream began again.
    """

    def __init__(self) -> None:
        self._publishers: Sequence[object] = ()
        self.is_best_effort = False
        self.received = 0
        self.lost = 0
        self._is_numbered = False
        self._last_number = 0
        self._gaps: deque[int] = deque(maxlen=_RATE_WINDOW)
        self._events = 0
        self.dropped: Counter[str] = Counter()
        self.last_drop = ""
        self.dark = 0
        self.restarts = 0
        self._reported_drops = self._reported_dark = self._reported_restarts = 0
        self._since_s = time.monotonic()
        self._arrivals_s: deque[float] = deque(maxlen=_RATE_WINDOW)

    def arrived(self, number: int | None = None) -> None:
        """An image came, with its publisher's number if the middleware gives it."""
        lost = self._events
        if number is not None and self._is_numbered:
            if self._last_number:
                lost = max(0, number - self._last_number - 1)
            self._last_number = number
        self._events = 0
        self.lost += lost
        self._gaps.append(lost)
        self.received += 1
        self._arrivals_s.append(time.monotonic())

    def published_by(self, publishers: Sequence[object]) -> None:
        """The image topic's publishers. Each numbers its images separately, so gaps are known only for a single one."""
        if publishers != self._publishers:
            self._publishers = publishers
            self._is_numbered = len(publishers) == 1
            self._last_number = 0

    def lost_on_the_way(self, count: int) -> None:
        """Counts images that the middleware reports as lost."""
        self._events += count

    @property
    def lost_share(self) -> float:
        """Share of the recently published images that were lost, 0 to 1."""
        lost = sum(self._gaps)
        return lost / (lost + len(self._gaps)) if lost >= FEW_LOST else 0.0

    def drop(self, reason: str, detail: str) -> None:
        self.dropped[reason] += 1
        self.last_drop = detail

    def darkened(self) -> None:
        """A 16-bit image came whose values use so little of the range that it is nearly black."""
        self.dark += 1

    def restart(self) -> None:
        """Begin to wait for the camera again, for example when the node is activated."""
        self._since_s = time.monotonic()
        self._arrivals_s.clear()
        self._gaps.clear()
        self._last_number = self._events = 0

    @property
    def silent_s(self) -> float:
        return time.monotonic() - (self._arrivals_s[-1] if self._arrivals_s else self._since_s)

    @property
    def rate_hz(self) -> float:
        if len(self._arrivals_s) < 2:
            return 0.0
        # Silence counts, so that the rate falls as soon as the camera stops.
        return (len(self._arrivals_s) - 1) / max(time.monotonic() - self._arrivals_s[0], 1e-6)

    def status(self, limits: CameraConfig, active: bool, describe: Callable[[], str] | None = None) -> DiagnosticStatus:
        """WARN and ERROR for silence, WARN for frames dropped since the last call.

        `describe` gives the image topic with its publishers, and what prevents their images from arriving.
        """
        drops = sum(self.dropped.values())
        fresh_drops, self._reported_drops = drops - self._reported_drops, drops
        fresh_dark, self._reported_dark = self.dark - self._reported_dark, self.dark
        silent_s = self.silent_s
        level, text = OK, f"{self.rate_hz:.1f} Hz"
        if not active:
            text = "node is not active"
        elif silent_s >= limits.silent_error_s:
            level, text = ERROR, self._silence(silent_s, describe)
        elif silent_s >= limits.silent_warn_s:
            level, text = WARN, self._silence(silent_s, describe)
        elif self.lost_share >= MUCH_LOST:
            published_hz = self.rate_hz / (1 - self.lost_share)
            level, text = WARN, f"{self.rate_hz:.1f} of about {published_hz:.0f} Hz, images are lost; {self._remedy()}"
        elif fresh_drops:
            level, text = WARN, f"{fresh_drops} frames dropped; {self.last_drop}"
        elif fresh_dark:
            level, text = WARN, f"{fresh_dark} nearly black images; {DARK_REMEDY}"
        if active and (mixed := self._mixture()):
            level, text = max(level, WARN), f"{text}; {mixed}"
        values: dict[str, object] = {"received": self.received, "rate_hz": f"{self.rate_hz:.1f}"}
        values |= {"lost": self.lost, "dropped": drops, "restarts": self.restarts}
        values |= {f"dropped: {reason}": count for reason, count in sorted(self.dropped.items())}
        values |= {"nearly black 16-bit images": self.dark} if self.dark else {}
        return diagnostic("camera", level, text, values | {"silent_s": f"{silent_s:.1f}"})

    def _mixture(self) -> str:
        """Why images may be of several cameras or clocks, of which masks would be mixed; empty if they are of one."""
        fresh, self._reported_restarts = self.restarts - self._reported_restarts, self.restarts
        several = len(self._publishers)
        reasons = [f"{several} publishers send images on this topic"] if several > 1 else []
        if fresh >= MANY_RESTARTS:
            reasons.append(f"stamps went back {fresh} times, so several clocks are mixed")
        return f"{', '.join(reasons)}; the node needs those of one camera, remap image" if reasons else ""

    def _silence(self, silent_s: float, describe: Callable[[], str] | None) -> str:
        text = f"no image for {silent_s:.1f} s"
        if self._events:
            text += f", {self._events} were lost; {self._remedy()}"
        return f"{text}; {describe()}" if describe is not None else text

    def _remedy(self) -> str:
        profile = "start both with config/fastdds_shm.xml"
        if self.is_best_effort:
            return f"have the camera publish reliably with camera.reliability auto, or {profile}"
        return f"{profile}, or subscribe smaller or compressed images"


class QuestionHealth:
    """Counts outcomes by their status.

    Attributes:
        lost: questions and answers that were lost, by topic.
        send_failures: messages that could not be sent at once, by topic. Answers are sent again.
    """

    def __init__(self) -> None:
        self.ended: Counter[Status] = Counter()
        self.lost: Counter[str] = Counter()
        self.send_failures: Counter[str] = Counter()
        self._reported_lost = 0
        self._last: Outcome | None = None

    def count(self, outcome: Outcome) -> None:
        self.ended[outcome.answer.status] += 1
        self._last = replace(outcome, reasoned=None)  # `reasoned` would keep images alive

    def status(self, load: Load | None) -> DiagnosticStatus:
        """ERROR while a model hangs. WARN if the last question failed (refused or cancelled is no failure of the node).

        Also WARN if questions or answers were lost since the last call.
        """
        values: dict[str, object] = {f"ended: {status}": count for status, count in sorted(self.ended.items())}
        level, text = OK, "no question yet"
        if self._last is not None:
            answer, query = self._last.answer, self._last.question.query
            text = f"last: {answer.status}" + (f", {answer.error}" if answer.error else "")
            if not answer.status.is_answer and answer.status not in _NO_FAULT:
                level = WARN
            values |= {"last_query_id": query.query_id, "last_status": answer.status}
            values |= {"last_total_s": f"{self._last.total_s:.2f}"}
        lost = sum(self.lost.values())
        fresh_lost, self._reported_lost = lost - self._reported_lost, lost
        if fresh_lost:
            level, text = WARN, f"{fresh_lost} questions or answers lost: {', '.join(self.lost)}"
        values |= {f"lost: {topic}": count for topic, count in sorted(self.lost.items())}
        values |= {f"failed to send: {topic}": count for topic, count in sorted(self.send_failures.items())}
        if load is not None:
            values |= {"running": load.running, "waiting": load.waiting, "standing": load.standing}
            values |= {"followed": load.tracked, "images kept, MB": round(load.buffered_bytes / 1e6, 1)}
            values |= {"enabled": load.enabled}
            if load.hang:
                level, text = ERROR, load.hang
        return diagnostic("questions", level, text, values)


def node_status(
    state: str, error: str, models: dict[str, str], progress: str = "", named_alike: int = 1
) -> DiagnosticStatus:
    """ERROR with the reason if the node could not be configured, WARN while it is not active or shares its name.

    `progress` is the current step of a configuration; `named_alike` counts the nodes of its name.
    """
    text = f"{state}: {progress}" if state == "configuring" and progress else state
    level = ERROR if error else OK if state == "active" else WARN
    if named_alike > 1 and level == OK:
        level, text = WARN, f"{text}; {named_alike} nodes have this name and each answers every question: {REMEDY}"
    resident_mb = memory.resident_mb()
    memory_values = {} if resident_mb is None else {"memory, MB": round(resident_mb)}
    return diagnostic("node", level, error or text, {"state": state, **models, **memory_values})


def picture_status(result: PictureResult | None) -> DiagnosticStatus:
    """WARN if the reasoner's boxes of the known picture are wrong, or it gave no answer."""
    if result is None:
        return diagnostic("known picture", OK, "not checked (reasoner.known_picture)", {"state": "not checked"})
    values: dict[str, object] = {f"target {index}": found for index, found in enumerate(result.found, 1)}
    level = OK if result.is_right else WARN
    return diagnostic("known picture", level, one_line(result.text), {"state": result.state, **values})


def array(name: str, stamp: object, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """A /diagnostics message; the node's name is put before the name of each status."""
    message = DiagnosticArray(status=statuses)
    message.header.stamp = stamp
    for status in statuses:
        status.name = f"{name}: {status.name}"
        status.hardware_id = name
    return message


def diagnostic(name: str, level: bytes, text: str, values: dict[str, object]) -> DiagnosticStatus:
    """One status; `array` gives it the node's name."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, values=pairs)

"""An answer that is kept in memory, so that it can be recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reasonseg_ros.config import Config
from reasonseg_ros.live.frame_buffer import Arrival, FrameBuffer, thinned
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.recording.content import SentMessage
from reasonseg_ros.types import Frame, Status

_NO_FAILURE = (Status.REFUSED, Status.CANCELLED)
"""Without an answer by the wish or the fault of whoever asked."""
OnRecorded = Callable[[str, str], None]
"""Receives the file's path, or the reason why there is none. From the recorder's thread."""


@dataclass(eq=False)
class KeptAnswer:
    """An answer with what the node published about it, and the images around the moment.

    Attributes:
        recorded: when it was given, in UTC (ISO 8601).
        due_s: when the images after it have come, by the monotonic clock.
        restarts: of the stream, when its images were taken.
        before, after: images around those that it is about.
        is_wanted: the settings of its time have it recorded.
        is_flagged, note: somebody flagged it, and why; `on_recorded` are called with the result.
    """

    outcome: Outcome
    published: Sequence[SentMessage]
    config: Config
    recorded: str
    due_s: float
    restarts: int
    before: Sequence[Arrival] = ()
    after: Sequence[Arrival] = ()
    is_wanted: bool = False
    is_flagged: bool = False
    note: str = ""
    on_recorded: list[OnRecorded] = field(default_factory=list)

    @property
    def frames(self) -> tuple[Frame, ...]:
        """What was looked at; else the image that it ended on."""
        if self.outcome.reasoned is not None:
            return self.outcome.reasoned.frames
        return () if self.outcome.frame is None else (self.outcome.frame,)

    @property
    def size_bytes(self) -> int:
        frames = [frame for frame in (*self.frames, self.outcome.frame) if frame is not None]
        pictures = {
            id(frame): frame.rgb.nbytes + (0 if frame.depth_m is None else frame.depth_m.nbytes) for frame in frames
        }
        masks = sum(region.mask.nbytes for region in self.outcome.regions)
        return sum(pictures.values()) + 2 * masks + sum(one.size_bytes for one in (*self.before, *self.after))

    @property
    def query_id(self) -> str:
        return self.outcome.question.query.query_id

    @property
    def has_failed(self) -> bool:
        """Whether there is no answer, or an unsure one."""
        status = self.outcome.answer.status
        return not status.is_answer and status not in _NO_FAILURE

    def look_around(self, buffer: FrameBuffer) -> None:
        """Find the images on both sides of the moment, as far as the buffer still holds them."""
        record, outcome = self.config.record, self.outcome
        if not is_of_camera(outcome) or self.restarts != buffer.restarts or not record.around_images:
            return
        around_ns = int(record.around_s * 1e9)
        first_ns, last_ns = self.frames[0].stamp_ns, self.frames[-1].stamp_ns
        ended_ns = outcome.frame.stamp_ns if outcome.frame is not None else last_ns
        if outcome.reasoned is None:
            self.before = thinned(buffer.between(first_ns - around_ns, first_ns - 1), record.around_images)
        after = buffer.between(last_ns + 1, max(last_ns + around_ns, ended_ns))
        self.after = thinned(after, record.around_images)


def is_of_camera(outcome: Outcome) -> bool:
    """Whether there may be images around the one that it is about."""
    return outcome.question.frame is None and outcome.frame is not None

"""An answer that is kept in memory so that it can be recorded later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reasonseg_ros.config import Config
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer, thinned
from reasonseg_ros.recording.content import SentMessage
from reasonseg_ros.types import Frame, Status

_NO_FAILURE = (Status.REFUSED, Status.CANCELLED)
"""Statuses that the caller caused, so they are not failures of the robot."""
OnRecorded = Callable[[str, str], None]
"""Called from the recorder's thread with the file's path, and with the reason if there is none."""


@dataclass(eq=False)
class KeptAnswer:
    """An answer with the messages that the node published for it, and the images before and after it.

    Attributes:
        recorded: time of the answer in UTC (ISO 8601).
        due_s: time by the monotonic clock at which the images after it have arrived.
        restarts: number of restarts of the stream when its images were taken.
        before, after: images around those that it is about.
        is_wanted: whether the settings at that time ask to record it.
        is_flagged, note: whether a user flagged it, and why; `on_recorded` are called with the result.
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
        """The images that the method was shown; if it was not asked, the image of the outcome."""
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
        """Find the images before and after the answer that are still in the buffer."""
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
    """Whether it is about an image of the camera, so that there may be images around it."""
    return outcome.question.frame is None and outcome.frame is not None

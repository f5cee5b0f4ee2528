"""A question about the stream of images, and its outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from reasonseg_ros.config import Config, StreamConfig
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.reasoner.call import WAIT, Call, ignore
from reasonseg_ros.segmenter.port import Tracker
from reasonseg_ros.segmenter.regions import without_empty
from reasonseg_ros.types import Answer, FloatArray, Frame, Grounding, Mode, Query, Region, Segmentation, Status

STANDING = (Mode.WATCH, Mode.TRACK)
"""Modes whose questions have more than one outcome."""


@dataclass(frozen=True, eq=False)
class Question:
    """One question, or one set of prompts.

    Attributes:
        on_outcome: receives every outcome, from any thread; must return quickly.
        frame: the image to use; None is the newest image at the question's turn.
        groundings: makes the boxes and points to segment without the reasoner, for the frame's width and height; may
            raise InvalidInput. None asks the reasoner.
        proposes: everything in the image is segmented, without the reasoner.
        call: limits and progress. A question is cancelled through the worker, whatever `call.cancelled` says.
        on_frame: receives the frame that the question is about, and when it was asked (monotonic clock, seconds),
            before reasoning begins; from the thread that answers.
        asked_s: when the question came, by the monotonic clock.
    """

    query: Query
    on_outcome: Callable[[Outcome], None]
    frame: Frame | None = None
    groundings: Callable[[tuple[int, int]], tuple[Grounding, ...]] | None = None
    proposes: bool = False
    call: Call = WAIT
    on_frame: Callable[[Frame, float], None] = ignore
    asked_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, eq=False)
class NoSegmentation:
    """Why a question ended without a segmentation. `frame` is its last image, if any."""

    answer: Answer
    frame: Frame | None = None


@dataclass(frozen=True, eq=False)
class Reasoned:
    """The input of the method, and its answer before propagation: the content of a recording.

    Attributes:
        frames: what the method was shown, oldest first.
        prompts: the groundings to segment, where the reasoner was not asked.
        before: images before the first of `frames`; none if nothing is recorded.
        restarts: of the stream, when the frames were taken.
    """

    frames: tuple[Frame, ...]
    segmentation: Segmentation
    config: Config
    prompts: tuple[Grounding, ...] = ()
    before: tuple[Arrival, ...] = ()
    restarts: int = 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """One result of a question.

    Attributes:
        result: holds the answer and the frame.
        total_s: since the question was asked.
        is_last: ends the question.
        is_tracked: masks of an earlier answer on a newer image.
        reasoned: its origin; None if the method was not asked, or did not answer.
    """

    question: Question
    result: Segmentation | NoSegmentation
    total_s: float
    is_last: bool = True
    is_tracked: bool = False
    reasoned: Reasoned | None = None

    @property
    def answer(self) -> Answer:
        return self.result.answer

    @property
    def is_repeated(self) -> bool:
        """Whether it only moves the masks of an earlier answer. They come at the camera's rate; their loss does not."""
        return self.is_tracked and self.answer.status.has_mask

    @property
    def frame(self) -> Frame | None:
        return self.result.frame

    @property
    def segmentation(self) -> Segmentation | None:
        """None if the question ended without one."""
        return self.result if isinstance(self.result, Segmentation) else None

    @property
    def regions(self) -> tuple[Region, ...]:
        return self.result.regions if isinstance(self.result, Segmentation) else ()

    def with_seen_regions(self) -> Outcome:
        """The outcome without empty regions, which only tracking needs."""
        if not isinstance(self.result, Segmentation):
            return self
        return replace(self, result=without_empty(self.result))


@dataclass(frozen=True, eq=False)
class Turn:
    """The result of asking a question once.

    Attributes:
        frame: the image; None if there was none.
        tracker: has tracked the targets up to the outcome's frame; None if they are not tracked.
        restarts: of the stream, when the image was taken.
        thumbnail: of the frame, if the question is asked again when the scene changes.
    """

    outcome: Outcome
    frame: Frame | None = None
    tracker: Tracker | None = None
    restarts: int = 0
    thumbnail: FloatArray | None = None


@dataclass(frozen=True)
class Load:
    """What the worker is doing.

    Attributes:
        buffered_bytes: size of the buffered images.
        hang: where a model hangs, and the remedy; empty if none hangs.
    """

    running: str
    waiting: int
    standing: int
    tracked: int
    buffered_bytes: int
    enabled: bool
    hang: str = ""


def is_tracked_on(mode: Mode, stream: StreamConfig) -> bool:
    """Whether the targets of a question of this mode are tracked after its answer."""
    return mode is Mode.TRACK or (mode is Mode.WATCH and stream.follow_watched)


def other_camera(before: Frame, after: Frame) -> str:
    """Why masks on one image do not apply to a later one of the stream; empty if both are of the same camera.

    A restarted camera may have another size; another camera on the same topic has another frame.
    """
    if before.size_wh != after.size_wh:
        return "the camera changed its image size"
    if before.frame_id.lstrip("/") != after.frame_id.lstrip("/"):
        return f"the images are of another camera: frame_id {after.frame_id[:80]!r} after {before.frame_id[:80]!r}"
    return ""


def lost(segmentation: Segmentation, reason: str) -> Segmentation:
    """`segmentation` as LOST: its targets cannot be tracked to the newest image."""
    answer = replace(segmentation.answer, status=Status.LOST, groundings=(), error=f"{reason}; ask again")
    return replace(segmentation, answer=answer, regions=())


def failed_outcome(
    question: Question, status: Status, error: str, frame: Frame | None = None, asked_s: float | None = None
) -> Outcome:
    """The outcome of a question without an answer. `asked_s` is given if the question was asked again."""
    total_s = time.monotonic() - (question.asked_s if asked_s is None else asked_s)
    return Outcome(question, NoSegmentation(Answer(status, error=error), frame), total_s)

"""Questions on their way, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from reasonseg_ros.config import StreamConfig
from reasonseg_ros.reasoner.call import OnStage, OnText, ignore
from reasonseg_ros.segmenter.regions import without_empty
from reasonseg_ros.types import Answer, FloatArray, Frame, Grounding, Mode, Query, Segmentation, Status

STANDING = (Mode.WATCH, Mode.TRACK)
"""Modes whose questions have more than one outcome."""


@dataclass(eq=False)
class Request:
    """One question, or one set of prompts, on its way.

    Attributes:
        on_done: called with every outcome, from any thread; must return quickly.
        frame: the image to look at; None takes the newest one when its turn comes.
        groundings: makes the boxes and points to segment without the reasoner, for the frame's width and height; may
            raise InvalidInput. None asks the reasoner.
        max_new_tokens, time_limit_s: 0 means the configured limit.
        seen: the frame that was looked at last; set by the worker, as are the following.
        dropped_because: why it shall end; empty while it shall go on.
        told: outcomes so far.
        telling: held while an outcome is settled and told, so that outcomes are told in their order.
        has_ended: the last outcome has been told.
        beginnings: of the stream, when its image was taken from it.
        lost: how often its target was lost since it was followed last.
        is_due: to be asked again now.
        thumbnail: the scene when it was asked last.
    """

    query: Query
    on_done: Callable[[Outcome], None]
    frame: Frame | None = None
    groundings: Callable[[tuple[int, int]], tuple[Grounding, ...]] | None = None
    max_new_tokens: int = 0
    time_limit_s: float = 0.0
    on_text: OnText = ignore
    on_stage: OnStage = ignore
    asked_s: float = field(default_factory=time.monotonic)
    seen: Frame | None = None
    dropped_because: str = ""
    told: int = 0
    telling: threading.RLock = field(default_factory=threading.RLock)
    has_ended: bool = False
    beginnings: int = 0
    lost: int = 0
    is_due: bool = False
    thumbnail: FloatArray | None = None

    def tell(self, outcome: Outcome) -> None:
        """Hand an outcome to `on_done`, without targets that are not seen; none after the last one. From any thread."""
        with self.telling:
            if not self.has_ended:
                self.has_ended = outcome.is_last
                self.on_done(_seen(outcome))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a request.

    Attributes:
        segmentation: None where no frame was looked at.
        is_last: ends the request.
        is_followed: an earlier answer's masks on a newer image.
    """

    request: Request
    answer: Answer
    segmentation: Segmentation | None
    total_s: float
    is_last: bool = True
    is_followed: bool = False

    @property
    def frame(self) -> Frame | None:
        return self.segmentation.frame if self.segmentation else self.request.seen


def _seen(outcome: Outcome) -> Outcome:
    """The outcome without regions that mark no pixel. Whoever follows the targets needs them; nobody else does."""
    if outcome.segmentation is None:
        return outcome
    segmentation = without_empty(outcome.segmentation)
    return replace(outcome, answer=segmentation.answer, segmentation=segmentation)


@dataclass(frozen=True)
class Load:
    """What the worker is at. `buffered_bytes` are the images that are kept for late answers."""

    running: str
    waiting: int
    standing: int
    followed: int
    buffered_bytes: int
    enabled: bool


def is_followed_on(mode: Mode, stream: StreamConfig) -> bool:
    """Whether the targets of a question of this mode are followed after its answer."""
    return mode is Mode.TRACK or (mode is Mode.WATCH and stream.follow_watched)


def lost(segmentation: Segmentation, reason: str) -> Segmentation:
    """What is told instead of an answer whose targets cannot be followed to the newest image."""
    answer = replace(segmentation.answer, status=Status.LOST, groundings=(), error=f"{reason}; ask again")
    return replace(segmentation, answer=answer, regions=())


def failed_outcome(request: Request, status: Status, error: str) -> Outcome:
    """The outcome of a request that did not get to an answer."""
    return Outcome(request, Answer(status, error=error), None, time.monotonic() - request.asked_s)

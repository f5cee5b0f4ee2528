"""Questions on their way, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reasonseg_ros.methods.seg_zero import OnStage
from reasonseg_ros.reasoner.port import OnText
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
        lost: how often in a row its target was lost.
        is_due: to be asked again now.
        thumbnail: the scene when it was asked last.
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
    told: int = 0
    lost: int = 0
    is_due: bool = False
    thumbnail: FloatArray | None = None


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


@dataclass(frozen=True)
class Load:
    """What the worker is at. `buffered_bytes` are the images that are kept for late answers."""

    running: str
    waiting: int
    standing: int
    followed: int
    buffered_bytes: int
    enabled: bool


def failure(request: Request, status: Status, error: str) -> Outcome:
    """The outcome of a request that did not get to an answer."""
    return Outcome(request, Answer(status, error=error), None, time.monotonic() - request.asked_s)

"""What every way to answer offers, and the one table of them (`loading.METHODS`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from reasonseg_ros.config import Config
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.port import Segmenter, Tracker
from reasonseg_ros.types import Frame, Grounding, Query, Segmentation

MakeTracker = Callable[[], Tracker]
"""Makes a tracker for the features of the method's segmenter; all of them share the models."""


class Method(Protocol):
    """Answers questions with a reasoner and a segmenter. Not thread-safe. Failures become statuses, never exceptions.

    Attributes:
        name: as in the parameter `method`.
        config: the settings of the moment; may be replaced between two answers.
        make_tracker: None if targets cannot be tracked from image to image.
        sees_videos: whether `answer_history` looks at more than the newest frame.
    """

    name: str
    reasoner: Reasoner
    segmenter: Segmenter
    config: Config
    make_tracker: MakeTracker | None
    sees_videos: bool

    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        """Think about `query`, then segment what the answer points at."""
        ...

    def answer_batch(self, frames: Sequence[Frame], queries: Sequence[Query]) -> list[Segmentation]:
        """One answer for each frame with its question, thought about together. What the reasoner raises is raised."""
        ...

    def answer_history(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> Segmentation:
        """The answer about what happened in `frames`, in the order of time, on one of them.

        Raises InvalidInput if there are no frames.
        """
        ...

    def prompt(self, frame: Frame, groundings: Sequence[Grounding]) -> Segmentation:
        """Segment given boxes and points, without the reasoner. REFUSED if the segmenter cannot use them."""
        ...

    def prepare(self, frame: Frame, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Encode and read a frame ahead of any question, as long as `is_wanted`, which is asked in between.

        Useful if segmenter and reasoner keep what they make of an image. Raises OutOfMemory.
        """
        ...


class VideoMethod(Method, Protocol):
    """A method that answers on every frame of a video."""

    def answer_video(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> list[Segmentation]:
        """The answer on each of `frames`, which are in the order of time."""
        ...

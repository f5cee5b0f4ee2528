"""The port of methods: from a frame and a question to masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.methods.proposing import propose
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.port import Segmenter, Tracker
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Frame, Grounding, Query, Segmentation

MakeTracker = Callable[[], Tracker]
"""Creates a tracker over the features of the method's segmenter. All trackers share the models."""


class Method(Protocol):
    """Answers questions with a reasoner and a segmenter. Not thread-safe. Failures become statuses, never exceptions.

    A class that inherits from this needs `name`, `reasoner`, `segmenter`, `settings`, `answer` and `prompt`. The other
    members have defaults for a method that looks at single images.

    Attributes:
        name: for reports.
        settings: the current configuration; a method reads it at each answer.
        make_tracker: creates the trackers of this method; None if targets cannot be tracked from image to image.
        sees_videos: whether `answer_history` and `answer_video` look at several frames together.
    """

    name: str
    reasoner: Reasoner
    segmenter: Segmenter
    settings: Settings
    make_tracker: MakeTracker | None = None
    sees_videos: bool = False

    @abstractmethod
    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        """Reason about the question, then segment the groundings of the answer."""
        ...

    @abstractmethod
    def prompt(self, frame: Frame, groundings: Sequence[Grounding]) -> Segmentation:
        """Segment given boxes and points, without the reasoner. REFUSED if the segmenter cannot use them."""
        ...

    def propose(self, frame: Frame, call: Call = WAIT) -> Segmentation:
        """Everything in the image, without the reasoner: a region for each proposal, the largest first."""
        return propose(frame, self.segmenter, self.settings.now.segmenter, call)

    def answer_batch(self, frames: Sequence[Frame], queries: Sequence[Query]) -> list[Segmentation]:
        """One answer for each frame with its question. Errors of the reasoner are raised."""
        return [self.answer(frame, query) for frame, query in zip(frames, queries, strict=True)]

    def answer_history(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> Segmentation:
        """The answer about what happened in `frames` (ordered by time), on one of them; default: the newest.

        Raises InvalidInput if there are no frames.
        """
        if not frames:
            raise InvalidInput("no frames to look back at; wait for the camera")
        return self.answer(frames[-1], query, call)

    def answer_video(self, frames: Sequence[Frame], query: Query, call: Call = WAIT) -> list[Segmentation]:
        """The answer on each of `frames` (ordered by time); by default each frame is asked about alone."""
        return [self.answer(frame, query, call) for frame in frames]

    def prepare(self, frame: Frame, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Encode and prefill a frame before any question. `is_wanted` is checked between the steps; False ends it.

        Useful if segmenter and reasoner cache what they compute for an image. Raises OutOfMemory.
        """
        return None

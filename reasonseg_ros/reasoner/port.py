"""What every reasoner offers, wherever its model runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.rounds import Keyframe
from reasonseg_ros.types import Answer, Frame


class Reasoner(Protocol):
    """A question about an image in, groundings with their reason out."""

    name: str
    frames: int
    """How many frames of a video `choose` is best shown."""
    has_batches: bool
    """Whether `answer_batch` decodes several questions together."""

    def answer(self, frame: Frame, text: str, call: Call = WAIT) -> Answer:
        """Think about one question.

        Whatever the model or its server does wrong becomes a status of the Answer (UNPARSABLE, TRUNCATED,
        CONTRADICTION, TIMEOUT, CANCELLED, UNAVAILABLE, OUT_OF_MEMORY, FAILED), never an exception.
        """
        ...

    def choose(self, frames: Sequence[Frame], text: str, call: Call = WAIT) -> Keyframe:
        """Round 1 of a question about what happened in `frames`, which are in the order of time: see `rounds`.

        Fails as `answer` does.
        """
        ...

    def answer_batch(self, frames: Sequence[Frame], texts: Sequence[str], call: Call = WAIT) -> list[Answer]:
        """An Answer for each frame with its text, together if that is faster. The time limit holds for each question.

        Not cancelled and without progress. An error is the status of all that were asked together.
        """
        ...

    def prepare(self, frame: Frame) -> None:
        """Read ahead what all questions about this frame share. Never raises; `answer` reports what failed."""
        ...

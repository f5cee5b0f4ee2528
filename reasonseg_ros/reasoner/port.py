"""What every reasoner offers, wherever its model runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from reasonseg_ros.reasoner.rounds import Keyframe
from reasonseg_ros.types import Answer, Frame

OnText = Callable[[str, int], None]
"""Called with the whole text so far and the number of tokens so far."""


class Reasoner(Protocol):
    """A question about an image in, groundings with their reason out."""

    name: str
    frames: int
    """How many frames of a video `choose` is best shown."""

    def answer(
        self,
        frame: Frame,
        text: str,
        *,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] | None = None,
        max_new_tokens: int = 0,
        time_limit_s: float = 0.0,
    ) -> Answer:
        """Think about one question.

        `cancelled` is asked between tokens. A limit of 0 means the configured one. Everything that the model or its
        server does wrong ends in a status of the Answer (UNPARSABLE, TRUNCATED, CONTRADICTION, TIMEOUT, CANCELLED,
        UNAVAILABLE, OUT_OF_MEMORY), never in an exception.
        """
        ...

    def choose(
        self,
        frames: Sequence[Frame],
        text: str,
        *,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] | None = None,
        max_new_tokens: int = 0,
        time_limit_s: float = 0.0,
    ) -> Keyframe:
        """Round 1 of a question about what happened in `frames`, which are in the order of time: see `rounds`.

        The limits and failures are those of `answer`.
        """
        ...

    def prepare(self, frame: Frame) -> None:
        """Do ahead what questions about this frame have in common. Never raises: what fails is told by `answer`."""
        ...

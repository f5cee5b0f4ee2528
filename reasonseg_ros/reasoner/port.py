"""The port of reasoners, wherever their model runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from reasonseg_ros.reasoner.abilities import Ability, Exploration, Explored, Reply, check_abilities, lacking
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.limits import failure
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe
from reasonseg_ros.reasoner.thoughts import Thought
from reasonseg_ros.types import Answer, Frame, RgbImage, Status


class Reasoner(Protocol):
    """Answers a question about an image with groundings and the reason for them. Not thread-safe.

    A class that inherits from this needs only `name` and `answer`.

    Attributes:
        name: the model's name, for answers and reports.
        frames: number of video frames that `choose` is meant for.
        has_batches: whether `answer_batch` decodes several questions together.
        abilities: what `explore` can compute, and whether `reply` works.
        state_width: width D of the hidden states from `think`; 0 if it gives none.
    """

    name: str
    frames: int = 6
    has_batches: bool = False
    abilities: frozenset[Ability] = frozenset()
    state_width: int = 0

    @abstractmethod
    def answer(self, frame: Frame, text: str, call: Call = WAIT) -> Answer:
        """The answer to one question. Boxes and points are in pixels of the frame.

        Errors of the model or its server become a status (UNPARSABLE, TRUNCATED, CONTRADICTION, TIMEOUT, CANCELLED,
        UNAVAILABLE, OUT_OF_MEMORY, FAILED), never an exception.
        """
        ...

    def choose(self, frames: Sequence[Frame], text: str, call: Call = WAIT) -> Keyframe:
        """Round 1 of a question about what happened in `frames`, which are ordered by time: see `rounds`.

        Fails like `answer`. By default no frame is chosen, and the caller uses the newest one.
        """
        if call.cancelled():
            return failed_keyframe(failure(Status.CANCELLED, "cancelled before looking back", self.name))
        return failed_keyframe(failure(Status.UNPARSABLE, f"{self.name} looks at single images", self.name))

    def think(self, frame: Frame, text: str, call: Call = WAIT) -> Thought | Answer:
        """The thought about a question, with its hidden states and without an answer.

        Fails as `answer` does, with an Answer that gives the reason. By default there are no hidden states.
        """
        return failure(Status.REFUSED, f"{self.name} gives no hidden states; set reasoner.backend to onnxruntime",
                       self.name)  # fmt: skip

    def answer_batch(self, frames: Sequence[Frame], texts: Sequence[str], call: Call = WAIT) -> list[Answer]:
        """An answer for each frame and its text, decoded together if that is faster.

        The time limit is per question. Questions that are decoded together cannot be cancelled, report no progress,
        and share an error.
        """
        return [self.answer(frame, text, call) for frame, text in zip(frames, texts, strict=True)]

    def explore(self, frame: Frame, text: str, wanted: Exploration, call: Call = WAIT) -> Explored:
        """`answer` with what is `wanted`: sampled answers, and the attention of the answer's tokens to the image.

        Progress covers the answer alone. Samples that a limit stops are left out. Raises ConfigError if the reasoner
        lacks a wanted ability.
        """
        check_abilities(self.name, self.abilities, wanted.needs)
        return Explored(self.answer(frame, text, call))

    def reply(self, images: Sequence[RgbImage], words: str, call: Call = WAIT) -> Reply:
        """The model's free text in reply to `words` about images, uint8 [H, W, 3]. The card's prompt is not used.

        Fails as `answer` does. Raises ConfigError if the reasoner has no replies.
        """
        raise lacking(self.name, [Ability.REPLIES])

    def prepare(self, frame: Frame) -> None:
        """Compute in advance what all questions about this frame share. Never raises; `answer` reports failures."""
        return None

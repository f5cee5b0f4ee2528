"""The common part of reasoners whose checkpoint runs in this process: from the text of a chat to an answer."""

from __future__ import annotations

import gc
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from reasonseg_ros.errors import OutOfMemory, ReasonSegError
from reasonseg_ros.reasoner.abilities import Exploration, Explored, Reply, check_abilities, failed_reply
from reasonseg_ros.reasoner.by_card import CardReasoner
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.chat.prompts import chat, reply_messages
from reasonseg_ros.reasoner.image_size import resize_rgb
from reasonseg_ros.reasoner.limits import Limits, failure
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe, parse_keyframe, round_messages, shown_wh
from reasonseg_ros.types import Answer, FloatArray, Frame, RgbImage, Status

Messages = list[dict[str, Any]]
T = TypeVar("T")
NO_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Speech:
    """The model's reply to one chat.

    Attributes:
        seen_wh: the size at which it saw each image, pixels.
        cut: the token limit was hit, so the end is missing.
        broken: CANCELLED or TIMEOUT if a limit stopped it.
        entropy_nats: summed over the tokens of the thought.
        log_likelihood_nats: summed over all tokens; None if it was not asked for.
        ids: the tokens, where the backend keeps them.
    """

    text: str
    tokens: int
    seen_wh: list[tuple[int, int]]
    cut: bool = False
    broken: Status | None = None
    entropy_nats: float | None = None
    log_likelihood_nats: float | None = None
    ids: tuple[int, ...] = ()


class SpeakingReasoner(CardReasoner):
    """A checkpoint in this process. Greedy, so the same frame and question get the same answer. Not thread-safe."""

    @abstractmethod
    def say(self, messages: Messages, images: Sequence[RgbImage], limits: Limits) -> Speech:
        """The model's reply to a chat. Its `{"type": "image"}` entries stand for `images`, uint8 [H, W, 3], in order.

        Raises whatever the libraries raise; `guarded` turns that into an Answer.
        """
        ...

    def say_about(self, frame: Frame, question: str, limits: Limits) -> Speech:
        """The model's reply to a question about one frame."""
        return self.say(self.messages(question), [self.shown(frame)], limits)

    @abstractmethod
    def say_around(
        self, frame: Frame, question: str, wanted: Exploration, limits: Limits
    ) -> tuple[list[Speech], FloatArray | None]:
        """The speech of `say_about` followed by the samples, and the attention as in `Explored`."""
        ...

    def release(self) -> None:
        """Release memory after a failure."""
        return None

    def answer(self, frame: Frame, text: str, call: Call = WAIT, **wishes: Any) -> Answer:
        """See `port.Reasoner`. `wishes` are fields of the call by keyword, for short scripts."""
        limits = Limits.of(replace(call, **wishes), self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return question

        def ask() -> Answer:
            return self.parsed(frame, self.say_about(frame, question, limits), limits)

        return self.guarded(ask, lambda failed: failed)

    def explore(self, frame: Frame, text: str, wanted: Exploration, call: Call = WAIT) -> Explored:
        check_abilities(self.name, self.abilities, wanted.needs)
        limits = Limits.of(call, self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return Explored(question)

        def ask() -> Explored:
            (speech, *samples), attention = self.say_around(frame, question, wanted, limits)
            answers = tuple(self.parsed(frame, sample, limits) for sample in samples if not sample.broken)
            return Explored(self.parsed(frame, speech, limits), answers, None if speech.broken else attention)

        return self.guarded(ask, Explored)

    def reply(self, images: Sequence[RgbImage], words: str, call: Call = WAIT) -> Reply:
        limits = Limits.of(call, self.card, self.config)
        if broken := limits.broken():
            return failed_reply(limits.stopped(broken, "", 0, self.name))

        def ask() -> Reply:
            speech = self.say(reply_messages(self.card, words, [{"type": "image"}] * len(images)), images, limits)
            if speech.broken:
                return failed_reply(limits.stopped(speech.broken, speech.text, speech.tokens, self.name))
            return Reply(Status.OK, speech.text, is_cut=speech.cut)

        return self.guarded(ask, failed_reply)

    def choose(self, frames: Sequence[Frame], text: str, call: Call = WAIT) -> Keyframe:
        limits = Limits.of(call, self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return failed_keyframe(question)

        def ask() -> Keyframe:
            size_wh = shown_wh(self.card)
            images = [resize_rgb(frame.rgb, size_wh) if size_wh else frame.rgb for frame in frames]
            messages = round_messages(self.card, question, [{"type": "image"}] * len(frames))
            speech = self.say(messages, images, limits)
            if speech.broken:
                return failed_keyframe(limits.stopped(speech.broken, speech.text, speech.tokens, self.name))
            return parse_keyframe(speech.text, len(frames), speech.cut, speech.tokens)

        return self.guarded(ask, failed_keyframe)

    def messages(self, question: str) -> Messages:
        """The chat about one image."""
        return chat(self.card, question, {"type": "image"}, self.prompt)

    def shown(self, frame: Frame) -> RgbImage:
        """The frame's image at the card's size."""
        return resize_rgb(frame.rgb, self.card.image_size_wh) if self.card.image_size_wh else frame.rgb

    def parsed(self, frame: Frame, speech: Speech, limits: Limits) -> Answer:
        """The answer in what the model said."""
        if speech.broken:
            return limits.stopped(speech.broken, speech.text, speech.tokens, self.name)
        answer = self.read(speech.text, frame, speech.seen_wh[0], speech.cut, speech.tokens)
        return replace(answer, entropy_nats=speech.entropy_nats, log_likelihood_nats=speech.log_likelihood_nats)

    def guarded(self, ask: Callable[[], T], failed: Callable[[Answer], T]) -> T:
        """The result of `ask`, or of `failed` for the Answer that says why there is none."""
        try:
            return ask()
        # The libraries raise many types of errors, but the port promises an Answer.
        except Exception as error:
            status = Status.OUT_OF_MEMORY if self.is_no_memory(error) else Status.FAILED
            reason = str(error) if isinstance(error, ReasonSegError) else f"{type(error).__name__}: {error}"
            answer = failure(status, reason[:500], self.name)
        # The error and the arrays in its frames are released here, so their memory can be freed.
        self.release()
        gc.collect()
        return failed(answer)

    def is_no_memory(self, error: BaseException) -> bool:
        """Whether memory ran out."""
        if isinstance(error, (OutOfMemory, MemoryError)):
            return True
        return any(words in str(error) for words in NO_MEMORY_WORDS)

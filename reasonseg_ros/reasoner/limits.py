"""When an answer has to stop, and the Answer that says why."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.call import Call, OnText, ignore, never
from reasonseg_ros.reasoner.chat.prompts import LONGEST, normalise_question
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.types import Answer, Status


@dataclass(frozen=True)
class Limits:
    """The resolved limits of one answer, and the receiver of its text. Time counts from creation."""

    max_new_tokens: int
    time_limit_s: float
    cancelled: Callable[[], bool] = never
    on_text: OnText = ignore
    start_s: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, call: Call, card: ModelCard, config: ReasonerConfig) -> Limits:
        """The limits of the call. Where one is 0, that of the settings applies, then that of the card."""
        return cls(
            call.max_new_tokens or config.max_new_tokens or card.max_new_tokens,
            call.time_limit_s or config.time_limit_s,
            call.cancelled,
            call.on_text,
        )

    @property
    def has_listener(self) -> bool:
        """Whether `on_text` is set, so that the text so far has to be decoded."""
        return self.on_text is not ignore

    @property
    def remaining_s(self) -> float:
        return self.start_s + self.time_limit_s - time.monotonic()

    def broken(self) -> Status | None:
        """CANCELLED or TIMEOUT once the answer has to stop."""
        if self.cancelled():
            return Status.CANCELLED
        return Status.TIMEOUT if self.remaining_s <= 0 else None

    def begin(self, text: str, model: str) -> str | Answer:
        """The normalised question, or the Answer that ends it before any work is done."""
        try:
            question = normalise_question(text, LONGEST)
        except InvalidInput as error:
            return failure(Status.REFUSED, str(error), model)
        status = self.broken()
        return self.stopped(status, "", 0, model) if status else question

    def stopped(self, status: Status, text: str, tokens: int, model: str) -> Answer:
        """The Answer for the status of `broken`, with the thought so far."""
        if status is Status.TIMEOUT:
            error = f"no answer within {self.time_limit_s:g} s; raise the time limit or lower max_new_tokens"
        else:
            error = "cancelled while thinking"
        return failure(status, error, model, text, tokens)


def failure(status: Status, error: str, model: str, text: str = "", tokens: int = 0) -> Answer:
    """An Answer that says why there is none, with the thought so far."""
    thought = parse_answer(text, (1, 1)).thought
    return Answer(status, thought, raw_text=text, error=error, model=model, tokens=tokens)

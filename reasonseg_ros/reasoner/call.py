"""Limits, cancellation and progress of one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

OnText = Callable[[str, int], None]
"""Called with the whole text so far and the number of tokens so far."""
OnStage = Callable[[str], None]
"""Called when a stage begins: `reasoning`, `segmenting`."""


def ignore(*_: object) -> None:
    """Ignores progress."""


def never() -> bool:
    """Never cancels."""
    return False


@dataclass(frozen=True)
class Call:
    """Limits, cancellation and progress of one question. By default only the configured limits apply.

    Attributes:
        max_new_tokens: longest answer in tokens; 0 is the configured limit.
        time_limit_s: longest time in seconds; 0 is the configured limit.
        cancelled: polled between tokens and, with torch, between layers of the prefill, from the thread that answers;
            True ends the question as CANCELLED.
        on_text, on_stage: progress, from the thread that answers; must return quickly.
    """

    max_new_tokens: int = 0
    time_limit_s: float = 0.0
    cancelled: Callable[[], bool] = never
    on_text: OnText = ignore
    on_stage: OnStage = ignore

    def after(self, seconds: float) -> Call:
        """The same call after `seconds` of its time limit have passed."""
        left_s = max(self.time_limit_s - seconds, 0.001) if self.time_limit_s else 0.0
        return replace(self, time_limit_s=left_s)


WAIT = Call()
"""Wait for the answer, within the configured limits."""

"""Delivers the outcomes of one question to its client."""

from __future__ import annotations

import threading

from reasonseg_ros.live.questions import Outcome


class Delivery:
    """Delivers outcomes in order, and none after the last one. Thread-safe.

    Attributes:
        in_order: held from the moment an outcome is settled until it is delivered, so that outcomes of two threads
            do not overtake each other.
    """

    def __init__(self) -> None:
        self.in_order = threading.RLock()
        self._has_ended = False

    def deliver(self, outcome: Outcome) -> None:
        """Pass the outcome to its question's `on_outcome`, without targets that are not visible."""
        with self.in_order:
            if not self._has_ended:
                self._has_ended = outcome.is_last
                outcome.question.on_outcome(outcome.with_seen_regions())

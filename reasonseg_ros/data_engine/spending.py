"""The cost of the replies: tokens as counted by the server, and money by the given prices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reasonseg_ros.data_engine.store import StoredReply
from reasonseg_ros.errors import InvalidInput


@dataclass(frozen=True)
class Prices:
    """Prices per million tokens of prompts and of replies, in any currency; None if unknown.

    Raises InvalidInput for a negative price, or if only one is given.
    """

    prompt: float | None = None
    reply: float | None = None

    def __post_init__(self) -> None:
        for price in (self.prompt, self.reply):
            if price is not None and not (math.isfinite(price) and price >= 0):
                raise InvalidInput(f"a price of {price}; expected 0 or more for a million tokens")
        if (self.prompt is None) != (self.reply is None):
            raise InvalidInput("one price only; give both --price-in and --price-out, or none")


@dataclass(frozen=True)
class Spending:
    """Numbers of replies and tokens. `uncounted` is the number of replies without token counts of the server."""

    replies: int
    prompt_tokens: int
    tokens: int
    uncounted: int

    def cost(self, prices: Prices) -> float | None:
        """The cost of the counted replies; None without prices."""
        if prices.prompt is None or prices.reply is None:
            return None
        return (self.prompt_tokens * prices.prompt + self.tokens * prices.reply) / 1e6

    def line(self, prices: Prices, earlier: Spending) -> str:
        """One line for people. `earlier` is the part of it that earlier runs spent."""
        cost = self.cost(prices)
        stated = "cost unknown; give --price-in and --price-out" if cost is None else f"cost {cost:.4f}"
        lacking = f"; {self.uncounted} replies without counts are left out of that" if self.uncounted else ""
        before = f"; {earlier.prompt_tokens} and {earlier.tokens} of these by earlier runs" if earlier.replies else ""
        return f"tokens: {self.prompt_tokens} in prompts, {self.tokens} in replies{before}; {stated}{lacking}"


def spending(replies: Iterable[StoredReply]) -> Spending:
    """The sum over all replies."""
    listed = list(replies)
    return Spending(
        len(listed),
        sum(reply.prompt_tokens for reply in listed),
        sum(reply.tokens for reply in listed),
        sum(not (reply.prompt_tokens or reply.tokens) for reply in listed),
    )

"""The entropy of a served answer, from the log-probabilities that a server lists. Pure.

A server lists only the likeliest tokens, so the entropy is a lower bound. The listed tokens count exactly. The rest of
the probability is taken as spread over as few tokens as possible, none of them likelier than the last listed one. A
malformed list, or the list of another text, gives no entropy instead of a wrong one.

Format: `choices[].logprobs.content[]` of OpenAI's chat completions, as vLLM and llama.cpp fill it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from reasonseg_ros.reasoner.sureness import END_OF_THOUGHT, thought_entropy

LISTED = 20
"""Tokens asked for at each position: the most that OpenAI's and vLLM's servers give by default."""
WISH: dict[str, Any] = {"logprobs": True, "top_logprobs": LISTED}
_TOLERANCE = 0.01
"""By which probabilities may exceed 1, because some servers compute them in half precision."""
_MOST_WORDS = 1 << 20
"""Upper bound of a vocabulary's tokens."""
_ALL = 0.999
"""Fewer tokens than asked for are enough if they hold this share of the probability."""
_GAVE, _FORMAT = "it gave log-probabilities", "in another format"
_SURELY_MASKED_NATS = -1000.0
_UNSEEN = re.compile(r"[^!-~]+")
_MARKS = 128
"""Visible characters that the tokens may have beyond the text: those of special tokens."""


class Likelihoods:
    """Feed it the `logprobs` of each piece of an answer in turn. It keeps each token's text and entropy.

    Attributes:
        reason: why there is no entropy; empty if nothing is wrong so far.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._texts: list[str] = []
        self._nats: list[float] = []
        self._is_chosen_from_several = False

    def add(self, listed: Any) -> None:
        """`listed`: the value of `logprobs`; None where a piece has none."""
        tokens = listed.get("content") if isinstance(listed, dict) else listed
        if tokens is None or self.reason:
            return
        if not isinstance(tokens, list):
            self.reason = f"{_GAVE} {_FORMAT}"
            return
        for token in tokens:
            if unusable := self._unusable_token(token):
                self.reason = f"{_GAVE} {unusable}"
                return

    def entropy_nats(self, thought: str, content: str) -> float | None:
        """A lower bound of `sureness.thought_entropy`; None if there is none, with the `reason`.

        `thought` is the text that the server sent separately from the `content`.
        """
        self.reason = self.reason or self._unusable_text(thought, content)
        if self.reason:
            return None
        texts = self._texts
        return thought_entropy(range(len(texts)), self._nats, lambda tokens: "".join(texts[one] for one in tokens))

    def _unusable_text(self, thought: str, content: str) -> str:
        """Why the tokens are not those of the answer."""
        if not self._texts:
            return "it gave no log-probabilities"
        joined, said = "".join(self._texts), _seen(thought + content)
        visible = _seen(joined)
        covers = _seen(thought) in visible and _seen(content) in visible
        if not covers or len(visible) > len(said) + _MARKS:
            return f"{_GAVE} of another text than its answer"
        if thought.strip() and END_OF_THOUGHT not in joined:
            return f"{_GAVE} without the end of the thought ({END_OF_THOUGHT})"
        if not self._is_chosen_from_several:
            return (
                f"{_GAVE} of tokens that are already chosen: all are certain; set it to give those before sampling "
                "(vLLM: --logprobs-mode raw_logprobs)"
            )
        return ""

    def _unusable_token(self, token: Any) -> str:
        """Store a token, or return what is wrong with it."""
        text = token.get("token") if isinstance(token, dict) else None
        top = token.get("top_logprobs") if isinstance(token, dict) else None
        if not isinstance(text, str) or not isinstance(top, list):
            return _FORMAT
        chosen = _log_probability(token)
        others = [_log_probability(other) for other in top]
        if chosen is None or None in others:
            return "that are no negative numbers"
        known = sorted((nats for nats in others if nats is not None), reverse=True)[:LISTED]
        nats = _entropy(known)
        if nats is None or chosen > known[0] + _TOLERANCE:
            return "that do not add up"
        if len(known) < LISTED and sum(map(math.exp, known)) < _ALL:
            return f"of {len(known)} tokens at each position instead of {LISTED}"
        self._texts.append(text)
        self._nats.append(nats)
        self._is_chosen_from_several |= len(known) > 1 and known[1] > _SURELY_MASKED_NATS
        return ""


def _log_probability(token: Any) -> float | None:
    """At most 0; None if it is not a log-probability. Values just above 0 come from rounding."""
    value = token.get("logprob") if isinstance(token, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        nats = float(value)
    except OverflowError:
        return None
    return min(nats, 0.0) if math.isfinite(nats) and nats <= _TOLERANCE else None


def _entropy(listed_nats: Sequence[float]) -> float | None:
    """A lower bound in nats, from the log-probabilities of the likeliest tokens, the highest first.

    None if no distribution has these.
    """
    probabilities = [math.exp(nats) for nats in listed_nats]
    rest = 1.0 - math.fsum(probabilities)
    if not probabilities or rest < -_TOLERANCE or rest > _MOST_WORDS * probabilities[-1] + _TOLERANCE:
        return None
    rest = min(rest, _MOST_WORDS * probabilities[-1])  # more of it is rounding
    known = math.fsum(-share * nats for share, nats in zip(probabilities, listed_nats, strict=True) if share)
    likeliest = min(rest, probabilities[-1])  # of the tokens that are not listed
    return max(known, 0.0) + (rest * -math.log(likeliest) if likeliest > 0.0 else 0.0)


def _seen(text: str) -> str:
    """The visible ASCII characters. Others may span several tokens, which servers render differently."""
    return _UNSEEN.sub("", text)

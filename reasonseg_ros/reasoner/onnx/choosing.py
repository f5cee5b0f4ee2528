"""The next token from its logits, in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasonseg_ros.errors import ModelError
from reasonseg_ros.types import FloatArray

NOT_FINITE = "reasoning: the model's logits are not finite; export the checkpoint again, or in fp32"


class Chooser:
    """Chooses the likeliest token of one answer, after the checkpoint's repetition penalty.

    Source of the penalty: Keskar et al., "CTRL", 2019, arXiv:1909.05858; it counts the prompt, as transformers does.
    """

    def __init__(self, penalty: float, prompt: Sequence[int]) -> None:
        self._penalty = penalty
        self._said = np.unique(np.asarray(prompt, np.int64))

    def choose(self, logits: FloatArray) -> tuple[int, float]:
        """The token, and the entropy of its distribution in nats. Raises ModelError if logits are not finite."""
        if self._penalty != 1.0:
            logits = logits.copy()
            said = logits[self._said]
            logits[self._said] = np.where(said < 0, said * self._penalty, said / self._penalty)
        token = int(logits.argmax())
        if not np.isfinite(logits[token]):  # NaN counts as greatest
            raise ModelError(NOT_FINITE)
        if self._penalty != 1.0:
            self._said = np.union1d(self._said, [token])
        return token, entropy(logits)


def entropy(logits: FloatArray) -> float:
    """Entropy in nats of the distribution of float32 [vocabulary]."""
    shifted = logits - logits.max()
    weights = np.exp(shifted)
    total = weights.sum()
    # A token that is ruled out has the logit -inf and adds nothing.
    finite = np.where(weights > 0, shifted, 0.0)
    return float(np.log(total) - (weights * finite).sum() / total)

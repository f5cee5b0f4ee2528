"""The next token from its logits, in numpy: the likeliest one, or one drawn at random."""

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
        logits = self.fair(logits)
        token = int(logits.argmax())
        if self._penalty != 1.0:
            self._said = np.union1d(self._said, [token])
        return token, entropy(logits)

    def fair(self, logits: FloatArray) -> FloatArray:
        """The logits after the penalty. Raises ModelError if the greatest is not finite."""
        if self._penalty != 1.0:
            logits = logits.copy()
            said = logits[self._said]
            logits[self._said] = np.where(said < 0, said * self._penalty, said / self._penalty)
        if not np.isfinite(logits.max()):  # NaN counts as greatest
            raise ModelError(NOT_FINITE)
        return logits


def entropy(logits: FloatArray) -> float:
    """Entropy in nats of the distribution of float32 [vocabulary]."""
    shifted = logits - logits.max()
    weights = np.exp(shifted)
    total = weights.sum()
    # A token with the logit -inf is impossible and adds nothing.
    finite = np.where(weights > 0, shifted, 0.0)
    return float(np.log(total) - (weights * finite).sum() / total)


def log_probabilities(logits: FloatArray) -> FloatArray:
    """Natural logarithms of the probabilities, float32 [vocabulary]."""
    shifted = logits - logits.max()
    logarithms: FloatArray = shifted - np.log(np.exp(shifted).sum())
    return logarithms


class Draws:
    """Draws tokens from log-probabilities, float32 [vocabulary], at a temperature above 0."""

    def __init__(self, logarithms: FloatArray, temperature: float) -> None:
        weights = np.exp((logarithms - logarithms.max()).astype(np.float64) / temperature)
        self._sums = np.cumsum(weights)

    def draw(self, generator: np.random.Generator) -> int:
        place = np.searchsorted(self._sums, generator.random() * self._sums[-1], side="right")
        return int(min(place, len(self._sums) - 1))

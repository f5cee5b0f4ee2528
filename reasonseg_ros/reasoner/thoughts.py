"""A reasoner's thought as hidden states: the input of methods that choose among masks."""

from __future__ import annotations

from dataclasses import dataclass

from reasonseg_ros.types import FloatArray

THOUGHT_END = "</think>"


@dataclass(frozen=True, eq=False)
class Thought:
    """A thought that was decoded to its end, without the answer that would follow it.

    Attributes:
        states: last hidden states, normalised, float32 [T, D]: of the prompt's last token, then of each token of the
            thought. The last one is the state from which the answer would be written.
        image_features: what the reasoner sees, float32 [rows, columns, D]: one vector for each image token.
        entropy_nats: summed over the tokens of the thought.
    """

    text: str
    tokens: int
    states: FloatArray
    image_features: FloatArray
    entropy_nats: float

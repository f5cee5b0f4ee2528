"""A reasoner's thought as hidden states: the input of methods that select masks by them."""

from __future__ import annotations

from dataclasses import dataclass

from reasonseg_ros.types import FloatArray


@dataclass(frozen=True, eq=False)
class Thought:
    """A thought that was decoded to its end, without the answer that would follow it.

    Attributes:
        states: last hidden states, normalised, float32 [T, D]: of the prompt's last token, then of each token of the
            thought. The answer's first token would be predicted from the last of them.
        image_features: the image as the language model reads it, float32 [rows, columns, D], one vector per token.
        entropy_nats: summed over the tokens of the thought.
    """

    text: str
    tokens: int
    states: FloatArray
    image_features: FloatArray
    entropy_nats: float

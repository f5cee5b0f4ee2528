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
        attention: from the position of each state to each image token, float32 [T, rows, columns], summed over the
            heads of the layers from the middle to the last; [T, 0, 0] if the reasoner has no `Ability.ATTENTION`.
        entropy_nats: summed over the tokens of the thought.
    """

    text: str
    tokens: int
    states: FloatArray
    image_features: FloatArray
    attention: FloatArray
    entropy_nats: float

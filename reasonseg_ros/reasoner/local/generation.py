"""Decoding with transformers' `generate`: works with every checkpoint, and is the reference for faster decoders."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import torch

from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.local.decoding_step import token_entropies

GoOn = Callable[[list[list[int]]], bool]
"""Called after every token with each row's new tokens; False stops. A row may run on past its end."""


NOT_FINITE_ERROR = (
    "reasoning: the model's logits are not finite; set reasoner.dtype to float32 or bfloat16, or "
    "download the checkpoint again"
)


@dataclass(frozen=True)
class DecodedRow:
    """The new tokens of one row; the last is the end token if the row ended.

    Attributes:
        entropies_nats: of the distribution that each token was chosen from; `==` ignores it.
        log_likelihood_nats: of the tokens; None if it was not asked for.
    """

    tokens: list[int]
    entropies_nats: list[float] = field(compare=False)
    log_likelihood_nats: float | None = field(default=None, compare=False)


class PlainDecoder:
    """Greedy decoding of any model of transformers."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._ends = end_tokens(model)

    def decode(self, inputs: dict[str, Any], max_new_tokens: int, go_on: GoOn) -> list[DecodedRow]:
        """The new tokens of each row of `inputs`, which are padded on the left."""
        prompt_length = inputs["input_ids"].shape[1]
        entropies: list[torch.Tensor] = []

        def stops(input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            stop = not go_on(input_ids[:, prompt_length:].tolist())
            return torch.full((len(input_ids),), stop, device=input_ids.device)

        def check(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if not bool(scores.max(-1).values.isfinite().all()):  # NaN counts as greatest
                raise ModelError(NOT_FINITE_ERROR)
            entropies.append(token_entropies(scores.float()))
            return scores

        with torch.inference_mode():
            output = self._model.generate(
                **inputs, max_new_tokens=max_new_tokens, stopping_criteria=[stops], logits_processor=[check]
            )
        return decoded_rows(output[:, prompt_length:].tolist(), entropies, self._ends)


def end_tokens(model: Any) -> set[int]:
    """The tokens that end an answer."""
    end = model.generation_config.eos_token_id
    return set(end if isinstance(end, list) else [end])


def decoded_rows(rows: list[list[int]], entropies: list[torch.Tensor], ends: Collection[int]) -> list[DecodedRow]:
    """Each row up to its end token, with its column of `entropies`, which holds one tensor [rows] for each token."""
    columns = torch.stack(entropies, 1).tolist()
    ended = [until_end(row, ends) for row in rows]
    return [DecodedRow(row, column[: len(row)]) for row, column in zip(ended, columns, strict=True)]


def until_end(tokens: list[int], ends: Collection[int]) -> list[int]:
    """`tokens` up to and including the first end token."""
    last = next((index for index, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: last + 1]

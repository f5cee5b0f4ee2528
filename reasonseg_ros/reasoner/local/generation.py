"""Tokens through transformers' own `generate`: for every checkpoint, and the measure of faster ways."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch

from reasonseg_ros.errors import ModelError

GoOn = Callable[[list[list[int]]], bool]
"""Called after every token with each row's new tokens; False stops. A row may run on past its end."""


NOT_FINITE_ERROR = (
    "reasoning: the model's logits are not finite; set reasoner.dtype to float32 or bfloat16, or "
    "download the checkpoint again"
)


class PlainDecoder:
    """Greedy decoding of any model of transformers."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._ends = end_tokens(model)

    def decode(self, inputs: dict[str, Any], max_new_tokens: int, go_on: GoOn) -> list[list[int]]:
        """New tokens of each row of `inputs`, which are padded on the left; the end token is the last where it came."""
        prompt_length = inputs["input_ids"].shape[1]

        def stops(input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
            stop = not go_on(input_ids[:, prompt_length:].tolist())
            return torch.full((len(input_ids),), stop, device=input_ids.device)

        def check(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if not bool(scores.max(-1).values.isfinite().all()):  # NaN counts as greatest
                raise ModelError(NOT_FINITE_ERROR)
            return scores

        with torch.inference_mode():
            output = self._model.generate(
                **inputs, max_new_tokens=max_new_tokens, stopping_criteria=[stops], logits_processor=[check]
            )
        return [until_end(row, self._ends) for row in output[:, prompt_length:].tolist()]


def end_tokens(model: Any) -> set[int]:
    """The tokens that end an answer."""
    end = model.generation_config.eos_token_id
    return set(end if isinstance(end, list) else [end])


def until_end(tokens: list[int], ends: Collection[int]) -> list[int]:
    """`tokens` up to the first end token, which is kept."""
    last = next((index for index, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: last + 1]

"""Greedy decoding of Qwen2.5-VL and Qwen3-VL that gives the tokens of transformers' `generate` in less time.

The prompt runs through transformers' forward pass. Each later token runs through the same weights in `DecodingStep`:
buffers for keys and values are reused across answers, rotations are computed once, no masks are built, and on a GPU the
whole step is one CUDA graph. A prompt with the beginning of an earlier one continues from its keys and values.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration

from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.local.decoding_step import NOT_FINITE, DecodingStep, KeysValues
from reasonseg_ros.reasoner.local.generation import NOT_FINITE_ERROR, DecodedRow, GoOn, decoded_rows, end_tokens

_HARMLESS = {
    "bos_token_id", "eos_token_id", "pad_token_id", "repetition_penalty", "transformers_version",
    "do_sample", "temperature", "top_p", "top_k", "use_cache", "output_attentions", "output_hidden_states",
}  # fmt: skip
"""What a checkpoint's generation settings may hold: the penalty is applied here, the rest changes no greedy token."""


@dataclass(frozen=True, eq=False)
class Prefill:
    """Prompts that the model has read, a row each.

    Attributes:
        tokens: int64 [rows, length], padded on the left.
        attended: bool [rows, length], False at padding; None if there is none.
        layers: keys and values of each layer, [rows, heads, length, head size].
        position: int64 [rows], the rotary position of the next token.
        logits: float32 [rows, vocabulary], of the next token.
    """

    tokens: Tensor
    attended: Tensor | None
    layers: list[KeysValues]
    position: Tensor
    logits: Tensor

    @property
    def size_bytes(self) -> int:
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


class FastDecoder:
    """Decodes with a model for which `unsuited` finds nothing. Not thread-safe."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._ends = end_tokens(model)
        self._step = DecodingStep(model)
        self._cache_name = cache_argument(model)

    @torch.inference_mode()
    def prefill(self, inputs: dict[str, Any]) -> Prefill:
        """Read prompts with their images, as the processor gives them, padded on the left."""
        cache = DynamicCache(config=self._model.config.text_config)
        self._model.model.rope_deltas = None  # those of an earlier prompt
        output = self._model(**inputs, **{self._cache_name: cache}, use_cache=True, logits_to_keep=1)
        tokens, attended = inputs["input_ids"], inputs["attention_mask"].bool()
        shift = self._model.model.rope_deltas
        position = attended.sum(1) if shift is None else attended.sum(1) + shift.flatten()
        return Prefill(
            tokens,
            None if bool(attended.all()) else attended,
            [(layer.keys, layer.values) for layer in cache.layers],
            position,
            output.logits[:, -1].float(),
        )

    @torch.inference_mode()
    def extended(self, known: Prefill, shared: int, tail: list[int]) -> Prefill:
        """A prompt of one row: the first `shared` tokens of `known`, all its images among them, then `tail`.

        Only the tail is read. It must have at least one token.
        """
        tokens = torch.tensor([tail], device=known.tokens.device)
        position = known.position - (known.tokens.shape[1] - shared)
        cache = DynamicCache(config=self._model.config.text_config)
        for index, (keys, values) in enumerate(known.layers):
            cache.update(keys[:, :, :shared], values[:, :, :shared], index)
        positions = (position + torch.arange(len(tail), device=position.device)).expand(3, 1, -1)
        hidden = self._model.model.language_model(
            input_ids=tokens, position_ids=positions, **{self._cache_name: cache}, use_cache=True
        ).last_hidden_state
        return Prefill(
            torch.cat([known.tokens[:, :shared], tokens], 1),
            None,
            [(layer.keys, layer.values) for layer in cache.layers],
            position + len(tail),
            self._model.lm_head(hidden[:, -1]).float(),
        )

    def decode(self, inputs: dict[str, Any], max_new_tokens: int, go_on: GoOn) -> list[DecodedRow]:
        """As `PlainDecoder.decode`."""
        rows: list[DecodedRow] = self.continued(self.prefill(inputs), max_new_tokens, go_on)
        return rows

    @torch.inference_mode()
    def continued(self, prompt: Prefill, max_new_tokens: int, go_on: GoOn) -> list[DecodedRow]:
        """The new tokens of each row of `prompt`, which is not changed."""
        step = self._step
        step.begin(prompt.tokens, prompt.attended, prompt.layers, prompt.position)
        tokens, entropies = step.choose(prompt.logits)
        all_entropies: list[Tensor] = []
        rows: list[list[int]] = [[] for _ in tokens]
        running = set(range(len(rows)))
        for count in range(1, max_new_tokens + 1):
            for row, token in zip(rows, tokens.tolist(), strict=True):
                row.append(token)
            all_entropies.append(entropies.clone())
            if any(rows[index][-1] == NOT_FINITE for index in running):
                raise ModelError(NOT_FINITE_ERROR)
            running = {index for index in running if rows[index][-1] not in self._ends}
            if not go_on(rows) or not running or count == max_new_tokens:
                break
            tokens, entropies = step.next(tokens)
        return decoded_rows(rows, all_entropies, self._ends)


def cache_argument(model: Any) -> str:
    """Name of the argument for keys and values, which transformers 5.24 renamed."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def unsuited(model: Any) -> str:
    """Why `FastDecoder` may not give the tokens of `generate` for this model; empty if it does."""
    if type(model) not in (Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration):
        return f"it is a {type(model).__name__}"
    text = model.config.text_config
    if model.config._attn_implementation != "sdpa":
        return f"its attention is {model.config._attn_implementation}"
    if text.rope_parameters.get("rope_type") != "default":
        return f"its rotary positions are {text.rope_parameters.get('rope_type')}"
    if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
        return "it has sliding-window attention"
    language = model.model.language_model
    if any(type(module) is not nn.Linear for name, module in language.named_modules() if name.endswith("_proj")):
        return "its weights are quantized or adapted"
    settings = model.generation_config.to_diff_dict()
    unknown = {name for name in settings if name not in _HARMLESS and not name.startswith("_")}
    return f"its generation settings hold {', '.join(sorted(unknown))}" if unknown else ""

"""Sampled answers, and the attention of an answer's tokens, through transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.abilities import Exploration
from reasonseg_ros.reasoner.local.decoding_step import token_entropies
from reasonseg_ros.reasoner.local.generation import NOT_FINITE_ERROR, DecodedRow, GoOn, end_tokens, until_end
from reasonseg_ros.types import FloatArray


def sampled_rows(model: Any, inputs: Any, wanted: Exploration, max_new_tokens: int, go_on: GoOn) -> list[DecodedRow]:
    """`wanted.samples` answers to one chat, decoded together, with their likelihoods at temperature 1.

    Raises ModelError if the logits are not finite.
    """
    prompt_length = inputs["input_ids"].shape[1]
    entropies: list[Tensor] = []
    logarithms: list[Tensor] = []  # of each token that was drawn
    last: list[Tensor] = []

    def settle(tokens: Tensor) -> None:
        if last:
            logarithms.append(last.pop().gather(1, tokens[:, None])[:, 0])

    def look(input_ids: Tensor, scores: Tensor) -> Tensor:
        if not bool(scores.max(-1).values.isfinite().all()):  # NaN counts as greatest
            raise ModelError(NOT_FINITE_ERROR)
        settle(input_ids[:, -1])
        last.append(scores.float().log_softmax(-1))
        entropies.append(token_entropies(scores.float()))
        return scores

    def stops(input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        stop = not go_on(input_ids[:, prompt_length:].tolist())
        return torch.full((len(input_ids),), stop, device=input_ids.device)

    device = inputs["input_ids"].device
    with torch.inference_mode(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(wanted.seed)
        output = model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=True, temperature=wanted.temperature, top_k=0, top_p=1.0,
            num_return_sequences=wanted.samples, stopping_criteria=[stops], logits_processor=[look],
        )  # fmt: skip
    settle(output[:, -1])
    ends = end_tokens(model)
    rows = []
    columns = zip(torch.stack(entropies, 1).tolist(), torch.stack(logarithms, 1).tolist(), strict=True)
    for row, (nats, logs) in zip(output[:, prompt_length:].tolist(), columns, strict=True):
        tokens = until_end(row, ends)
        rows.append(DecodedRow(tokens, nats[: len(tokens)], sum(logs[: len(tokens)])))
    return rows


def can_attend(model: Any) -> bool:
    """Whether `attention_of` knows where the model's text layers are."""
    layers = getattr(getattr(getattr(model, "model", None), "language_model", None), "layers", [])
    return len(layers) > 0 and all(hasattr(layer, "self_attn") for layer in layers)


@torch.inference_mode()
def attention_of(model: Any, inputs: Any, said: Sequence[int], thought_length: int) -> FloatArray:
    """The attention of `Explored`, for a chat with one image: of the tokens after the first `thought_length` of `said`.

    Takes one forward pass with eager attention. Its weights are summed layer by layer, so that those of one layer at a
    time are in memory.
    """
    tokens = inputs["input_ids"]
    spoken = torch.tensor([list(said)], device=tokens.device)
    whole = dict(inputs) | {"input_ids": torch.cat([tokens, spoken], 1)}
    whole["attention_mask"] = torch.cat([inputs["attention_mask"], torch.ones_like(spoken)], 1)
    if "mm_token_type_ids" in whole:
        whole["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(spoken)], 1)
    image_at = (whole["input_ids"][0] == model.config.image_token_id).nonzero()[:, 0]
    begin = tokens.shape[1] - 1 + (thought_length if thought_length < len(said) else 0)
    writers = slice(begin, whole["input_ids"].shape[1] - 1)
    total = torch.zeros(len(image_at), device=tokens.device)

    def take(_: Any, __: Any, output: Any) -> None:
        total.add_(output[1][0, :, writers][..., image_at].float().sum(0).mean(0))

    layers = model.model.language_model.layers
    hooks = [layer.self_attn.register_forward_hook(take) for layer in layers[len(layers) // 2 :]]
    try:
        with _eager(model.model.language_model.config):
            model.model.rope_deltas = None  # those of an earlier prompt
            model(**whole, use_cache=False, logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    _, rows, columns = inputs["image_grid_thw"][0].tolist()
    merge = model.config.vision_config.spatial_merge_size
    found: FloatArray = total.reshape(rows // merge, columns // merge).cpu().numpy()
    return found


@contextmanager
def _eager(config: Any) -> Iterator[None]:
    """Other kernels give no weights."""
    before = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = before

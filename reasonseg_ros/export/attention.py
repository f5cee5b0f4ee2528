"""Attention with the library's weights in the form of the exported graphs: batch first, with a bias.

Between few tokens and many pixels, the tokens are projected instead of the pixels: (p W) . t = p . (W t). The same
holds for values and outputs. This costs less while tokens times heads are fewer than the projected channels. From about
16 tokens on it costs more, with the same result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

IGNORED = -1e4
"""Added to the attention scores of ignored keys. It is within the range of float16."""


def attend(layer: nn.Module, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multi-head attention of `layer` (its four projections) on [N, length, channels]; `bias` [N, 1, 1, keys]."""
    query, key, value = (
        split_heads(layer, projection(tokens))
        for projection, tokens in ((layer.q_proj, query), (layer.k_proj, key), (layer.v_proj, value))
    )
    return layer.o_proj(weigh(query, key, value, layer.scaling, bias))


def split_heads(layer: nn.Module, tokens: Tensor) -> Tensor:
    """[N, length, heads * size] as [N, heads, length, size]."""
    return tokens.unflatten(-1, (layer.num_attention_heads, -1)).transpose(1, 2)


def weigh(query: Tensor, key: Tensor, value: Tensor, scaling: float, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention of [N, heads, length, size]: [N, length, heads * size]."""
    scores = (query * scaling) @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return (torch.softmax(scores, -1) @ value).transpose(1, 2).flatten(2)


def read_pixels(layer: nn.Module, tokens: Tensor, keys: Tensor, pixels: Tensor) -> Tensor:
    """Attention of `layer` from tokens [N, T, C] to pixels [N, L, C] with keys [N, L, C]: [N, T, C]."""
    heads = layer.num_attention_heads
    # The bias of the keys is left out: it adds the same to all scores of a token, which the softmax cancels.
    queries = split_heads(layer, layer.q_proj(tokens) * layer.scaling) @ layer.k_proj.weight.unflatten(0, (heads, -1))
    shares = torch.softmax(queries.flatten(1, 2) @ keys.transpose(1, 2), -1)
    seen = (shares @ pixels).unflatten(1, (heads, -1))
    value = layer.v_proj.weight.unflatten(0, (heads, -1)).transpose(1, 2)
    seen = seen @ value + layer.v_proj.bias.unflatten(0, (heads, 1, -1))
    return layer.o_proj(seen.transpose(1, 2).flatten(2))


def write_pixels(layer: nn.Module, keys: Tensor, placed: Tensor, tokens: Tensor, bias: Tensor) -> Tensor:
    """Attention of `layer` from pixels, given by their keys [N, L, C], to tokens [N, T, C]: [N, L, C].

    `placed` are the tokens with their positions. `bias` [N, 1, 1, T] is added to the scores.
    """
    heads = layer.num_attention_heads
    query, output = layer.q_proj, layer.o_proj.weight.T.unflatten(0, (heads, -1))
    sought = split_heads(layer, layer.k_proj(placed) * layer.scaling)
    offset = (sought @ query.bias.unflatten(0, (heads, -1, 1))).transpose(2, 3) + bias
    sought = (sought @ query.weight.unflatten(0, (heads, -1))).flatten(1, 2)
    scores = keys @ sought.transpose(1, 2) + offset.flatten(1).unsqueeze(1)
    shares = torch.softmax(scores.unflatten(2, (heads, -1)), -1).flatten(2)
    # Each head's shares add up to one, so the output bias can be added to the tokens, which are few.
    written = split_heads(layer, layer.v_proj(tokens)) @ output + layer.o_proj.bias / heads
    return shares @ written.flatten(1, 2)

"""Attention written out with the library's weights, as the exported graphs need it: batch first, with a bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IGNORED = -1e4
"""Added to the attention scores of ignored keys; float16 can still hold it."""


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
    """The values, averaged by how well query and key agree: [N, length, heads * size]."""
    scores = (query * scaling) @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return (torch.softmax(scores, -1) @ value).transpose(1, 2).flatten(2)

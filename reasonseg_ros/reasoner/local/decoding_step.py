"""Runs one token through the text layers of Qwen2.5-VL or Qwen3-VL, with keys and values in fixed buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]
"""Of one layer: each [rows, heads, length, head size]."""
NOT_FINITE = -1
"""In place of a token whose logit is NaN or infinite."""
_BLOCK = 256
"""The buffers for keys and values grow by this number of tokens; on a GPU the graph is then captured again."""


class DecodingStep:
    """The state of one decoding: keys and values, positions, and the tokens so far. Call it in inference mode.

    It uses the model's weights without a copy. On a CPU the number of calls dominates the time of a small model.
    Therefore heads that share a key are attended as rows of one query, and there is no mask unless rows are padded. On
    a GPU the step is one graph over the whole buffers, with a mask.
    """

    def __init__(self, model: Any) -> None:
        language = model.model.language_model
        self._embedding = language.embed_tokens.weight
        self._rotary = language.rotary_emb
        self._layers = [_Layer(layer) for layer in language.layers]
        self._norm = language.norm
        self._head = model.lm_head.weight
        self._penalty = float(model.generation_config.repetition_penalty or 1.0)
        self._graphed = self._head.device.type == "cuda"
        self._rows = self._capacity = self._length = 0

    def begin(self, tokens: Tensor, attended: Tensor | None, layers: Sequence[KeysValues], position: Tensor) -> None:
        """Start from prompts: tokens and attention mask [rows, length], keys and values, the next position [rows]."""
        rows, length = tokens.shape
        if rows != self._rows or length >= self._capacity:
            self._allocate(rows, length + 1)
        self._length = length
        self._slot.fill_(length)
        self._positions.copy_(position)
        for layer, (keys, values) in zip(self._layers, layers, strict=True):
            layer.keys[:, :, :length] = keys
            layer.values[:, :, :length] = values
        self._masked = self._graphed or attended is not None
        self._attended.fill_(False)
        self._attended[:, 0, 0, :length] = True if attended is None else attended
        if self._penalty != 1.0:
            # Padding was not said, so a token that was said replaces it.
            said = tokens if attended is None else torch.where(attended, tokens, tokens[:, -1:])
            self._said.fill_(False).scatter_(1, said, True)

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest tokens of float32 [rows, vocabulary], after the repetition penalty, and the entropies in nats.

        Both are [rows]. The token is `NOT_FINITE` if the likeliest logit is NaN or infinite.
        """
        if self._penalty == 1.0:
            return _finite(logits.argmax(-1), logits), token_entropies(logits)
        fair = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        fair = torch.where(self._said, fair, logits)
        tokens = fair.argmax(-1)
        self._said.scatter_(1, tokens[:, None], True)
        return _finite(tokens, fair), token_entropies(fair)

    def next(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens [rows] that follow `tokens` [rows], and their entropies [rows]. Valid until the next call."""
        if self._length == self._capacity:
            self._grow()
        self._length += 1
        if not self._graphed:
            return self._run(tokens, self._length)
        self._graph_tokens.copy_(tokens)
        self._graph.replay()
        return self._graph_next

    def _run(self, tokens: Tensor, length: int) -> tuple[Tensor, Tensor]:
        hidden = F.embedding(tokens, self._embedding)
        cos = self._cos.index_select(0, self._positions)[:, None]
        sin = self._sin.index_select(0, self._positions)[:, None]
        mask = None
        if self._masked:
            mask = self._attended.index_fill_(3, self._slot, True)[..., :length]
        for layer in self._layers:
            hidden = layer(hidden, cos, sin, self._slot, length, mask)
        self._slot += 1
        self._positions += 1
        return self.choose(F.linear(_normed(hidden, self._norm), self._head).float())

    def _grow(self) -> None:
        """Allocate larger buffers and copy their content."""
        length, kept = self._length, [(layer.keys, layer.values) for layer in self._layers]
        state = [self._slot, self._positions, self._said]
        attended = self._attended
        self._allocate(self._rows, length + 1)
        for layer, (keys, values) in zip(self._layers, kept, strict=True):
            layer.keys[:, :, :length] = keys
            layer.values[:, :, :length] = values
        for now, before in zip((self._slot, self._positions, self._said), state, strict=True):
            now.copy_(before)
        self._attended[..., :length] = attended

    def _allocate(self, rows: int, tokens: int) -> None:
        """Allocate buffers for at least `tokens`, and on a GPU capture the graph that uses them."""
        like = self._head
        self._rows = 0  # if memory runs out in here, the next prompt allocates again
        self._capacity = -(-tokens // _BLOCK) * _BLOCK
        for layer in self._layers:
            layer.allocate(rows, self._capacity, like)
        self._slot = torch.zeros(1, dtype=torch.long, device=like.device)
        self._positions = torch.zeros(rows, dtype=torch.long, device=like.device)
        self._attended = torch.zeros(rows, 1, 1, self._capacity, dtype=torch.bool, device=like.device)
        self._said = torch.zeros(rows, len(like) if self._penalty != 1.0 else 0, dtype=torch.bool, device=like.device)
        # A position is never above its slot: an image takes more tokens than positions.
        everywhere = torch.arange(self._capacity, device=like.device).expand(3, 1, -1)
        self._cos, self._sin = (turn[0] for turn in self._rotary(like, everywhere))
        if self._graphed:
            self._capture(rows)
        self._rows = rows

    def _capture(self, rows: int) -> None:
        self._masked = True
        self._graph_tokens = torch.zeros(rows, dtype=torch.long, device=self._head.device)
        device = self._head.device
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries initialise on their first calls, which cannot be captured
                self._run(self._graph_tokens, self._capacity)
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, such as the segmenter's, may use the GPU meanwhile.
        # Without a stream it would be recorded on the current device, which may be another.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._graph_next = self._run(self._graph_tokens, self._capacity)


class _Layer:
    """One layer's weights, keys and values."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._head_size = attention.head_dim
        self._groups = attention.num_key_value_groups
        self._kv_heads = attention.k_proj.out_features // self._head_size
        self._before, self._after = layer.input_layernorm, layer.post_attention_layernorm
        self._norms = (attention.q_norm, attention.k_norm) if hasattr(attention, "q_norm") else None
        self._qkv = _joined(attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = attention.o_proj
        self._gate_up = _joined(mlp.gate_proj, mlp.up_proj)
        self._down = mlp.down_proj
        self._activation = mlp.act_fn

    def allocate(self, rows: int, capacity: int, like: Tensor) -> None:
        shape = (rows, self._kv_heads, capacity, self._head_size)
        # Zeros: masked values are still multiplied, so they must be finite.
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)

    def __call__(
        self, hidden: Tensor, cos: Tensor, sin: Tensor, slot: Tensor, length: int, mask: Tensor | None
    ) -> Tensor:
        """Hidden states [rows, width]; cos and sin [rows, 1, head size]; mask [rows, 1, 1, length]."""
        rows, heads = hidden.shape[0], self._kv_heads * self._groups
        parts = F.linear(_normed(hidden, self._before), *self._qkv).view(rows, -1, self._head_size)
        turned, values = parts[:, : -self._kv_heads], parts[:, -self._kv_heads :]
        if self._norms:
            turned = torch.cat(
                [_normed(turned[:, :heads], self._norms[0]), _normed(turned[:, heads:], self._norms[1])], 1
            )
        half = self._head_size // 2
        crossed = torch.cat((-turned[..., half:], turned[..., :half]), -1)
        turned = turned * cos + crossed * sin
        self.keys.index_copy_(2, slot, turned[:, heads:, None])
        self.values.index_copy_(2, slot, values[:, :, None])
        seen = F.scaled_dot_product_attention(
            turned[:, :heads].reshape(rows, self._kv_heads, self._groups, self._head_size),
            self.keys[:, :, :length],
            self.values[:, :, :length],
            attn_mask=mask,
        )
        hidden = hidden + F.linear(seen.reshape(rows, -1), self._out.weight, self._out.bias)
        gate, up = F.linear(_normed(hidden, self._after), *self._gate_up).chunk(2, -1)
        return hidden + F.linear(self._activation(gate) * up, self._down.weight, self._down.bias)


def token_entropies(logits: Tensor) -> Tensor:
    """Entropy in nats of the next token's distribution, [rows], from float32 logits [rows, vocabulary]."""
    logarithms = logits.log_softmax(-1)
    # A token with the logit -inf is impossible and adds nothing.
    return -(logarithms.exp() * logarithms.clamp_min(torch.finfo(logarithms.dtype).min)).sum(-1)


def _finite(tokens: Tensor, logits: Tensor) -> Tensor:
    # argmax treats NaN as greatest, so a single NaN is found. No branch, as this is part of a CUDA graph.
    chosen = logits.gather(-1, tokens[:, None])[:, 0]
    return tokens.masked_fill(~chosen.isfinite(), NOT_FINITE)


def _normed(hidden: Tensor, norm: Any) -> Tensor:
    """Root mean square normalisation, rounded as transformers' module does."""
    wide = hidden.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
    return norm.weight * (wide * scale).to(hidden.dtype)


def _joined(*linears: nn.Linear) -> tuple[Tensor, Tensor | None]:
    """Concatenated weight and bias of several layers, for a single call. The layers' own become views of them."""
    weight = torch.cat([linear.weight.data for linear in linears])
    widths = [linear.out_features for linear in linears]
    for linear, part in zip(linears, weight.split(widths), strict=True):
        linear.weight.data = part
    if linears[0].bias is None:
        return weight, None
    bias = torch.cat([linear.bias.data for linear in linears])
    for linear, part in zip(linears, bias.split(widths), strict=True):
        linear.bias.data = part
    return weight, bias

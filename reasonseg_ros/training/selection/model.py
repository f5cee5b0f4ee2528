"""The fusion module and its two heads.

Blocks like those of SAM's two-way transformer: self-attention among the masks, and cross-attention in both directions
between masks and question. One head predicts the IoP. The IoU head compares an embedding of each mask with one of the
question. Source: Wang and Ke, "LLM-Seg", 2024, arXiv:2404.08767.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class FusionSizes:
    """The sizes of the module.

    Attributes:
        mask_features: F, length of a mask's vector.
        state_width: D, length of a hidden state.
        width, heads, hidden, blocks: width, attention heads, hidden layer and number of the blocks.
    """

    mask_features: int
    state_width: int
    width: int = 128
    heads: int = 4
    hidden: int = 256
    blocks: int = 2
    dropout: float = 0.1


class Attention(nn.Module):
    """Multi-head attention of [B, Q, C] over [B, N, C]. Written out, so that its export accepts any lengths."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(dropout)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, queries: Tensor, values: Tensor, hidden: Tensor | None = None) -> Tensor:
        """`hidden`, bool [B, N], is true where `values` are padding."""
        q, k, v = (
            layer(tensor).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, tensor in ((self.query, queries), (self.key, values), (self.value, values))
        )
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None, None], -1e4)
        mixed = self.dropout(scores.softmax(-1)) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Masks attend to each other and to the question; then the question attends to the masks."""

    def __init__(self, sizes: FusionSizes) -> None:
        super().__init__()
        width, dropout = sizes.width, sizes.dropout
        self.among, self.to_question, self.to_masks = (Attention(width, sizes.heads, dropout) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.mlp = nn.Sequential(
            nn.Linear(width, sizes.hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(sizes.hidden, width)
        )

    def forward(self, masks: Tensor, question: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        masks = self.norms[0](masks + self.among(masks, masks, hidden))
        masks = self.norms[1](masks + self.to_question(masks, question))
        masks = self.norms[2](masks + self.mlp(masks))
        return masks, self.norms[3](question + self.to_masks(question, masks, hidden))


class Fusion(nn.Module):
    """Scores of masks float32 [B, K, F] for hidden states float32 [B, T, D]."""

    def __init__(self, sizes: FusionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.register_buffer("mean", torch.zeros(sizes.mask_features))
        self.register_buffer("spread", torch.ones(sizes.mask_features))
        self.from_mask = nn.Sequential(nn.Linear(sizes.mask_features, width), nn.ReLU(), nn.Linear(width, width))
        self.from_state = nn.Sequential(
            nn.Linear(sizes.state_width, sizes.state_width), nn.ReLU(), nn.Linear(sizes.state_width, width)
        )
        self.blocks = nn.ModuleList(TwoWayBlock(sizes) for _ in range(sizes.blocks))
        self.last = Attention(width, sizes.heads, 0.0)
        self.norm = nn.LayerNorm(width)
        self.iop_head = nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, 1))
        self.iou_head = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(
        self, masks: Tensor, states: Tensor, hidden: Tensor | None = None, noise: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Logits of the IoP, and cosine similarities with the question before fusion, float32 [B, K] each."""
        normal = (masks - self.mean) / self.spread
        if noise:
            normal = normal + noise * torch.randn_like(normal)
        masks, question = self.from_mask(normal), self.from_state(states)
        asked = question[:, -1:]
        for block in self.blocks:
            masks, question = block(masks, question, hidden)
        masks = self.norm(masks + self.last(masks, question))
        return self.iop_head(masks)[..., 0], F.cosine_similarity(self.iou_head(masks), asked, dim=-1)


class ExportedFusion(nn.Module):
    """The exported graph for one question: from masks [K, F] and states [T, D] to IoP and similarity, [K] each."""

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, masks: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        logits, similarity = self.fusion(masks[None], states[None])
        return logits[0].sigmoid(), similarity[0]


TEMPERATURE, IOP_WEIGHT, LEAST_IOU = 0.05, 50.0, 0.1


def selection_loss(
    logits: Tensor, similarity: Tensor, hidden: Tensor, iou: Tensor, iop: Tensor
) -> tuple[Tensor, Tensor]:
    """LLM-Seg's losses from float32 [B, K]: KL divergence of the IoU scores, and weighted regression of the IoP.

    KL(softmax(iou / t), softmax(similarity / t)) counts only for questions with a proposal on a target. The regression
    has the weight exp(iop - 1), which is largest for masks on the targets.
    """
    found = (similarity / TEMPERATURE).masked_fill(hidden, -1e4).log_softmax(1)
    wanted = (iou / TEMPERATURE).masked_fill(hidden, -1e4).softmax(1)
    divergence = (wanted * (wanted.clamp(min=1e-9).log() - found)).masked_fill(hidden, 0.0).sum(1)
    has_target = (iou.max(1).values > LEAST_IOU).float()
    squared = ((iop - 1).exp() * (logits.sigmoid() - iop).square()).masked_fill(hidden, 0.0).sum(1)
    regression = squared / (~hidden).sum(1).clamp(min=1)
    return (divergence * has_target).mean(), IOP_WEIGHT * regression.mean()

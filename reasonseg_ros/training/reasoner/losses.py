"""The losses of the reasoner: dense labels of the image, tokens and numbers of the answer, attention, and events."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS
from reasonseg_ros.tabletop.videos.video import EVENT_KINDS
from reasonseg_ros.training.reasoner.examples import IGNORED
from reasonseg_ros.training.reasoner.images import BOX_UNIT_PX

IMAGE_LAYERS = 2
"""Text layer after which category, colour and absolute box are predicted from image tokens."""

EVENT_LAYERS = 3
"""Text layer after which events are predicted from image tokens."""

VIDEO_BOX_WEIGHT = 1.0
"""Low, because the exact position of an object matters little for the events."""

_EVENT_WEIGHT, _HAPPENED_WEIGHT = 6.0, 4.0
_BACKGROUND_WEIGHT = 0.3
_COLOR_WEIGHT, _BOX_WEIGHT, _PATCH_WEIGHT, _LOOK_WEIGHT = 0.5, 8.0, 0.5, 0.7
_BOX_KNEE = 0.03


class DenseHead(nn.Module):
    """Predicts category, colour and box of the object at each image token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.category = nn.Linear(width, len(CATEGORIES) + 1)
        self.color = nn.Linear(width, len(COLORS))
        self.box = nn.Sequential(nn.Linear(width, 192), nn.SiLU(), nn.Linear(192, 6))

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.category(states).float(), self.color(states).float(), self.box(states).float()


class Heads(nn.Module):
    """Heads that are used in training only."""

    def __init__(self, vision_width: int, width: int) -> None:
        super().__init__()
        self.patch = nn.Linear(vision_width, len(CATEGORIES) + 1)
        self.token = DenseHead(width)
        self.layer = DenseHead(width)
        self.event = nn.Linear(width, len(EVENT_KINDS))


@dataclass(frozen=True, eq=False)
class DenseTargets:
    """`DenseLabels` of a batch as tensors with a leading batch axis."""

    patch_category: Tensor
    category: Tensor
    color: Tensor
    box: Tensor
    relative_box: Tensor


def dense_loss(
    heads: Heads, patch_states: Tensor, token_states: Tensor, layer_states: Tensor, targets: DenseTargets
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of category, colour and box, at the patches, at the image tokens and inside the text model."""
    patch = _PATCH_WEIGHT * _category_loss(heads.patch(patch_states), targets.patch_category)
    token, token_report = _thing_loss(heads.token, token_states, targets, targets.relative_box, _BOX_WEIGHT)
    layer, report = layer_loss(heads, layer_states, targets)
    loss = patch + token + layer
    return loss, {f"token_{name}": value for name, value in token_report.items()} | report | {"dense": loss.detach()}


def layer_loss(
    heads: Heads, states: Tensor, targets: DenseTargets, box_weight: float = _BOX_WEIGHT
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of category, colour and box at the image tokens inside the text model."""
    loss, report = _thing_loss(heads.layer, states, targets, targets.box, box_weight)
    return loss, {f"layer_{name}": value for name, value in report.items()}


def _thing_loss(
    head: DenseHead, states: Tensor, targets: DenseTargets, box: Tensor, box_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    seen = targets.category > 0
    category, color, found = head(states)
    loss = _category_loss(category, targets.category)
    loss = loss + _COLOR_WEIGHT * F.cross_entropy(color[seen], targets.color[seen])
    loss = loss + box_weight * F.smooth_l1_loss(found[seen], box[seen], beta=_BOX_KNEE)
    report = {
        "category": (category.argmax(-1) == targets.category)[seen].float().mean(),
        "color": (color.argmax(-1) == targets.color)[seen].float().mean(),
        "box_px": (found[seen] - box[seen]).abs().detach().mean() * BOX_UNIT_PX,
    }
    return loss, report


def _category_loss(scores: Tensor, wanted: Tensor) -> Tensor:
    weight = torch.ones(len(CATEGORIES) + 1, device=scores.device)
    weight[0] = _BACKGROUND_WEIGHT
    return F.cross_entropy(scores.float().flatten(0, -2), wanted.flatten(), weight=weight)


def answer_loss(
    scores: Tensor, follows: Tensor, number_ids: Tensor, spread_px: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross entropy of the response's tokens. The target of a pixel number is a Gaussian over numbers.

    Args:
        scores: [N, vocabulary], where a token is to be written.
        follows: int64 [N], the tokens to write.
        number_ids: tokens of 0, 1, 2, ...
        spread_px: standard deviation of the Gaussian.
    """
    value = torch.full((scores.shape[1],), -1, device=scores.device)
    value[number_ids] = torch.arange(len(number_ids), device=scores.device)
    value = value[follows]
    is_number = value >= 0
    log_probability = scores.float().log_softmax(-1)
    text = -log_probability[~is_number].gather(1, follows[~is_number][:, None]).mean()
    right = (log_probability[~is_number].argmax(1) == follows[~is_number]).float().mean()
    report = {"text": text.detach(), "text_right": right}
    if not is_number.any():
        return text, report
    numbers = log_probability[is_number][:, number_ids]
    distance = torch.arange(len(number_ids), device=scores.device)[None] - value[is_number][:, None]
    wanted = torch.softmax(-0.5 * (distance / spread_px) ** 2, 1)
    number = -(wanted * numbers).sum(1).mean()
    report |= {"number": number.detach(), "number_off_px": (numbers.argmax(1) - value[is_number]).abs().float().mean()}
    return text + number, report


def look_loss(log_attention: list[Tensor], looks: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of supervised attention outside of the objects that are being written about.

    Args:
        log_attention: [N, 1 + IMAGE_TOKENS] for each supervised layer.
        looks: bool, same shape.
    """
    missed = [-(attention.masked_fill(~looks, -1e4).logsumexp(-1)).mean() for attention in log_attention]
    loss = sum(missed) / len(missed)
    return _LOOK_WEIGHT * loss, {"looked": torch.exp(-loss.detach())}


def event_loss(heads: Heads, states: Tensor, happened: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of the events of the object at each image token: states [B, N, width], happened [B, N, kinds] of 0 and 1."""
    scores = heads.event(states).float()
    weight = scores.new_full((scores.shape[-1],), _HAPPENED_WEIGHT)
    loss = F.binary_cross_entropy_with_logits(scores, happened, pos_weight=weight)
    shown = happened > 0
    report = {"event": loss.detach(), "event_found": (scores > 0)[shown].float().mean()}
    report["event_false"] = ((scores > 0) & ~shown).sum() / shown.sum().clamp(min=1)
    return _EVENT_WEIGHT * loss, report


def writing(follows: Tensor) -> Tensor:
    """Mask of the tokens that are followed by a token to write."""
    return follows != IGNORED

"""GRPO's advantages and loss.

The loss is PPO's clipped surrogate, with advantages from a group of answers to one question, plus a low-variance
estimate of the KL divergence. Sources: Shao et al., "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open
Language Models", 2024, arXiv:2402.03300; the estimate "k3" of Schulman, "Approximating KL divergence", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPREAD_FLOOR = 1e-6


def group_advantages(rewards: Tensor) -> Tensor:
    """(reward - mean) / (standard deviation + 1e-6) within each group; 0 in a group of equal rewards. [P, G]."""
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + SPREAD_FLOOR)


@dataclass(frozen=True, eq=False)
class AnswerTokens:
    """Log probabilities of all tokens of the answers, concatenated.

    Attributes:
        now, before, reference: float32 [T], under the policy, the sampling policy, and the first checkpoint.
        owner: int64 [T], index of the answer of each token.
    """

    now: Tensor
    before: Tensor
    reference: Tensor
    owner: Tensor


def grpo_loss(
    tokens: AnswerTokens, advantages: Tensor, clip: float, kl_weight: float, answers: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and for the log the mean KL divergence and the share of clipped ratios.

    The loss is the mean over each answer's tokens, averaged over `answers`, the number of sampled answers. The
    `advantages` [A] may be fewer, because groups with equal rewards are left out.
    """
    ratio = (tokens.now - tokens.before).exp()
    advantage = advantages[tokens.owner]
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    log_ratio = tokens.reference - tokens.now
    kl = log_ratio.exp() - log_ratio - 1
    lengths = torch.bincount(tokens.owner, minlength=len(advantages))
    weight = 1 / (lengths[tokens.owner] * answers)
    loss = ((kl_weight * kl - gain) * weight).sum()
    with torch.no_grad():
        clipped = ((ratio - 1).abs() > clip).float().mean()
        mean_kl = (kl * weight).sum() / weight.sum()
    return loss, {"kl": mean_kl, "clipped": clipped}

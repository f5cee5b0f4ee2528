"""GRPO's advantages and loss.

Source: Shao et al., "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models", 2024,
arXiv:2402.03300: the clipped surrogate of PPO with advantages from a group of answers to one question, and the
low-variance estimate of the KL divergence ("k3": Schulman, "Approximating KL divergence", 2020) in the loss.
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
    """Log probabilities of all tokens of the answers, one after the other.

    Attributes:
        now, before, reference: float32 [T], under the policy, the policy that sampled, and the first checkpoint.
        owner: int64 [T], the answer that a token belongs to.
    """

    now: Tensor
    before: Tensor
    reference: Tensor
    owner: Tensor


def grpo_loss(
    tokens: AnswerTokens, advantages: Tensor, clip: float, kl_weight: float, answers: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and the mean KL divergence and share of clipped ratios for the log.

    The mean over each answer's tokens is averaged over `answers`, the number of sampled answers. That may be more than
    the advantages [A] of those given: answers of a group with equal rewards are left out.
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

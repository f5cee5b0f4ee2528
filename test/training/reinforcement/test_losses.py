"""Advantages and loss: by hand, and against TRL's trainer on the same batch."""

import importlib.util
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from reasonseg_ros.training.reinforcement.losses import AnswerTokens, group_advantages, grpo_loss


def test_advantages_are_standardised_within_a_group():
    rewards = torch.tensor([[1.0, 3.0], [2.0, 2.0], [0.0, 7.0]])
    half = 2**-0.5
    expected = torch.tensor([[-half, half], [0.0, 0.0], [-half, half]])
    torch.testing.assert_close(group_advantages(rewards), expected, atol=1e-5, rtol=0)


def test_the_loss_of_two_answers_by_hand():
    # Ratios 1, 2 (clipped to 1.2 as the advantage is positive) and 0.5 (clipped to 0.8 as it is negative).
    now = torch.tensor([-1.0, -1.0, -1.0])
    before = now - torch.tensor([1.0, 2.0, 0.5]).log()
    tokens = AnswerTokens(now, before, now.clone(), torch.tensor([0, 0, 1]))
    loss, report = grpo_loss(tokens, torch.tensor([1.0, -1.0]), 0.2, 0.5, 2)
    assert float(loss) == pytest.approx(-((1 + 1.2) / 2 - 0.8) / 2)
    assert float(report["clipped"]) == pytest.approx(2 / 3) and float(report["kl"]) == 0


def test_a_group_left_out_counts_with_a_loss_of_nothing():
    now = torch.tensor([-1.0, -2.0])
    tokens = AnswerTokens(now, now, now, torch.tensor([0, 1]))
    two, _ = grpo_loss(tokens, torch.tensor([1.0, 3.0]), 0.2, 0.0, 2)
    four, _ = grpo_loss(tokens, torch.tensor([1.0, 3.0]), 0.2, 0.0, 4)
    assert float(four) == pytest.approx(float(two) / 2)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kl_weight", [0.0, 5e-3, 0.5])
def test_loss_and_gradient_are_those_of_trl(kl_weight):
    from trl import GRPOTrainer

    random = torch.Generator().manual_seed(0)
    lengths = [5, 9, 1, 7]
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    before, reference = (-torch.rand(mask.shape, generator=random) * 3 for _ in range(2))
    now = (before + torch.randn(mask.shape, generator=random) * 0.3).requires_grad_()
    advantages = torch.tensor([1.2, -0.7, 0.4, -0.9])
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (now, torch.zeros_like(now), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level="token", beta=kl_weight, loss_type="grpo", epsilon_low=0.2, epsilon_high=0.2,
        use_vllm=False, current_gradient_accumulation_steps=1, model=SimpleNamespace(training=True),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False),
        _entropy_bonus_enabled=False,
        accelerator=SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x),
        _metrics={"train": defaultdict(list)},
    )  # fmt: skip
    inputs = {
        "prompt_ids": torch.zeros(4, 2).long(), "prompt_mask": torch.ones(4, 2).long(),
        "completion_ids": torch.zeros(mask.shape).long(), "completion_mask": mask, "advantages": advantages,
        "old_per_token_logps": before, "ref_per_token_logps": reference,
    }  # fmt: skip
    theirs = GRPOTrainer._compute_loss(trainer, None, inputs)
    (their_gradient,) = torch.autograd.grad(theirs, now)
    owner = torch.arange(4)[:, None].expand(mask.shape)[mask.bool()]
    tokens = AnswerTokens(*(values[mask.bool()] for values in (now, before, reference)), owner)
    ours, _ = grpo_loss(tokens, advantages, 0.2, kl_weight, 4)
    (our_gradient,) = torch.autograd.grad(ours, now)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient)

"""GRPO of the embedded reasoner: a small loop for a model of a few million parameters on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.reinforcement.image_run import ImageRun, asked
from reasonseg_ros.training.reinforcement.losses import AnswerTokens, group_advantages, grpo_loss
from reasonseg_ros.training.reinforcement.plan import GrpoPlan
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy, QuestionBatch
from reasonseg_ros.training.reinforcement.rewards import RewardTruth, reward_parts
from reasonseg_ros.training.reinforcement.run import train_to_end
from reasonseg_ros.training.rows import TrainingRow


class EmbeddedGrpo(ImageRun):
    """GRPO on questions about one image."""

    training = "grpo"

    plan: GrpoPlan

    def __init__(self, plan: GrpoPlan) -> None:
        super().__init__(plan)
        self._reference = EmbeddedPolicy(plan.model, self.policy.image_tokens)
        self._reference.model.requires_grad_(False)

    def _learn(self, rows: Sequence[TrainingRow], rng: np.random.Generator) -> dict[str, float]:
        plan = self.plan
        questions = asked(plan.rows, rows)
        answers = self.policy.sampled(questions, plan.group, plan.temperature, int(rng.integers(1 << 62)))
        parts = [
            [
                reward_parts(plan.reward, self.policy.text(tokens), RewardTruth(row.targets, IMAGE_WH))
                for tokens in group
            ]
            for row, group in zip(rows, answers, strict=True)
        ]
        rewards = torch.tensor([[sum(part.values()) for part in group] for group in parts])
        report = {name: float(np.mean([part[name] for group in parts for part in group])) for name in parts[0][0]}
        alive = [number for number, group in enumerate(rewards) if float(group.std()) > 1e-6]
        report |= {
            "reward": float(rewards.mean()),
            "length": float(np.mean([len(tokens) for group in answers for tokens in group])),
            "dead_groups": 1 - len(alive) / len(rows),
        }
        if not alive:
            return report
        advantages = group_advantages(rewards)[alive].flatten()
        return report | self._reinforce(questions.part(alive), [answers[i] for i in alive], advantages)

    def _reinforce(
        self, questions: QuestionBatch, answers: Sequence[Sequence[list[int]]], advantages: torch.Tensor
    ) -> dict[str, float]:
        with torch.no_grad():
            reference, _, _ = self._reference.log_probabilities(questions, answers)
        sampled = self.plan.prompts * self.plan.group
        before = None
        for _ in range(self.plan.iterations):
            now, entropies, owner = self.policy.log_probabilities(questions, answers)
            before = now.detach() if before is None else before
            tokens = AnswerTokens(now, before, reference, owner)
            loss, report = grpo_loss(tokens, advantages, self.plan.clip, self.plan.kl_weight, sampled)
            loss.backward()
            gradient = self._update()
        values = {**report, "entropy": entropies.mean(), "gradient": gradient, "loss": loss.detach()}
        return {name: float(value) for name, value in values.items()}


def run_embedded(plan: GrpoPlan) -> None:
    """Train to the end of the plan, continuing the run in `plan.out`."""
    train_to_end(EmbeddedGrpo(plan))

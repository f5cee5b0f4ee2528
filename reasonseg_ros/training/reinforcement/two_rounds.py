"""GRPO of the embedded reasoner on questions about videos, in ReVSeg's two rounds.

A rollout has two rounds: the first chooses a keyframe and describes the target, the second boxes it in that frame. Both
share one reward, so the tokens of both have the same advantage. Source: Li et al., 2025, arXiv:2512.02835.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reasonseg_ros.images.files import read_image
from reasonseg_ros.reasoner.rounds import parse_keyframe
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.reinforcement.image_run import means_targets
from reasonseg_ros.training.reinforcement.losses import AnswerTokens, group_advantages, grpo_loss
from reasonseg_ros.training.reinforcement.plan import GrpoPlan
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy, QuestionBatch
from reasonseg_ros.training.reinforcement.run import EmbeddedRun, train_to_end
from reasonseg_ros.training.reinforcement.video_rewards import VideoTruth, chosen_frame, video_reward_parts
from reasonseg_ros.training.video_rows import VideoRow, read_video_rows
from reasonseg_ros.types import Status

_QUESTIONS_AT_ONCE = 4
"""Questions whose gradients are computed together. Videos are long, and attention needs memory quadratic in length."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """A group of rollouts for each question.

    Attributes:
        videos: the questions of round 1.
        first: tokens of round 1, a group for each question.
        second: for each round 2: index of the rollout (question * group + k), its question and its tokens.
    """

    videos: QuestionBatch
    first: list[list[list[int]]]
    second: list[tuple[int, QuestionBatch, list[int]]]

    def part(self, numbers: Sequence[int]) -> Rollouts:
        """The rollouts of some of the questions, renumbered."""
        group = len(self.first[0])
        own = {old: new for new, old in enumerate(numbers)}
        second = [
            (own[rollout // group] * group + rollout % group, asked, tokens)
            for rollout, asked, tokens in self.second
            if rollout // group in own
        ]
        return Rollouts(self.videos.part(numbers), [self.first[i] for i in numbers], second)


def roll_out(
    policy: EmbeddedPolicy, folder: Path, rows: Sequence[VideoRow], group: int, temperature: float, seed: int
) -> Rollouts:
    """Sample both rounds. There is a round 2 only where round 1 is well formed."""
    frames = [[read_image(folder / path) for path in row.frames] for row in rows]
    videos = QuestionBatch(frames, [row.question for row in rows])
    first = policy.sampled(videos, group, temperature, seed)
    asked, owner = [], []
    for number, texts in enumerate(first):
        for k, tokens in enumerate(texts):
            chosen = chosen_frame(policy.text(tokens), len(frames[number]))
            if chosen is not None:
                asked.append(QuestionBatch([[frames[number][chosen.index]]], [chosen.description]))
                owner.append(number * group + k)
    if not asked:
        return Rollouts(videos, first, [])
    written = policy.sampled(_joined(asked), 1, temperature, seed + 1)
    return Rollouts(
        videos, first, [(own, one, tokens) for own, one, (tokens,) in zip(owner, asked, written, strict=True)]
    )


def _joined(batches: Sequence[QuestionBatch]) -> QuestionBatch:
    return QuestionBatch([b.images[0] for b in batches], [b.questions[0] for b in batches])


def rollout_log_probabilities(policy: EmbeddedPolicy, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor]:
    """Log probabilities, entropies and index of the rollout for each token of both rounds, each [T]."""
    values, entropies, owner = policy.log_probabilities(rollouts.videos, rollouts.first)
    if not rollouts.second:
        return values, entropies, owner
    asked = _joined([one for _, one, _ in rollouts.second])
    more, more_entropies, number = policy.log_probabilities(asked, [[tokens] for _, _, tokens in rollouts.second])
    numbers = torch.tensor([own for own, _, _ in rollouts.second])
    return torch.cat([values, more]), torch.cat([entropies, more_entropies]), torch.cat([owner, numbers[number]])


class TwoRoundsGrpo(EmbeddedRun[VideoRow]):
    """GRPO on questions about videos, with one reward for both rounds."""

    training = "grpo in two rounds"

    plan: GrpoPlan

    def __init__(self, plan: GrpoPlan) -> None:
        super().__init__(plan, read_video_rows)
        self._reference = EmbeddedPolicy(plan.model, self.policy.image_tokens)
        self._reference.model.requires_grad_(False)

    def _learn(self, rows: Sequence[VideoRow], rng: np.random.Generator) -> dict[str, float]:
        plan = self.plan
        seed = int(rng.integers(1 << 62))
        rollouts = roll_out(self.policy, plan.rows, rows, plan.group, plan.temperature, seed)
        parts = self._reward_parts(rows, rollouts)
        rewards = torch.tensor([sum(part.values()) for part in parts]).view(len(rows), plan.group)
        report = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
        alive = [number for number, group in enumerate(rewards) if float(group.std()) > 1e-6]
        report |= {
            "reward": float(rewards.mean()),
            "length": float(np.mean([len(tokens) for group in rollouts.first for tokens in group])),
            "second_rounds": len(rollouts.second) / len(parts),
            "dead_groups": 1 - len(alive) / len(rows),
        }
        if not alive:
            return report
        return report | self._reinforce(rollouts, alive, group_advantages(rewards))

    def _reward_parts(self, rows: Sequence[VideoRow], rollouts: Rollouts) -> list[dict[str, float]]:
        """The parts of the reward of each rollout."""
        second = {number: self.policy.text(tokens) for number, _, tokens in rollouts.second}
        first = [(row, self.policy.text(tokens)) for row, group in zip(rows, rollouts.first, strict=True)
                 for tokens in group]  # fmt: skip
        return [
            video_reward_parts(
                self.plan.reward, text, second.get(number, ""), VideoTruth(row.boxes_xyxy, answer_wh=IMAGE_WH)
            )
            for number, (row, text) in enumerate(first)
        ]

    def _reinforce(self, rollouts: Rollouts, alive: Sequence[int], advantages: Tensor) -> dict[str, float]:
        """Update on the questions `alive`. Gradients are accumulated over batches of a few questions."""
        sampled = self.plan.prompts * self.plan.group
        at_once = [alive[i : i + _QUESTIONS_AT_ONCE] for i in range(0, len(alive), _QUESTIONS_AT_ONCE)]
        parts = [(rollouts.part(numbers), advantages[list(numbers)].flatten()) for numbers in at_once]
        with torch.no_grad():
            references = [rollout_log_probabilities(self._reference, part)[0] for part, _ in parts]
        before: list[Tensor] = []
        for iteration in range(self.plan.iterations):
            reports = []
            for index, (part, own) in enumerate(parts):
                now, entropies, owner = rollout_log_probabilities(self.policy, part)
                if iteration == 0:
                    before.append(now.detach())
                tokens = AnswerTokens(now, before[index], references[index], owner)
                loss, report = grpo_loss(tokens, own, self.plan.clip, self.plan.kl_weight, sampled)
                loss.backward()
                share = {name: float(value) for name, value in {**report, "entropy": entropies.mean()}.items()}
                reports.append({**share, "loss": float(loss.detach())})
            gradient = self._update()
        mean = {name: float(np.mean([each[name] for each in reports])) for name in ("kl", "clipped", "entropy")}
        return {**mean, "loss": sum(each["loss"] for each in reports), "gradient": float(gradient)}

    def _right(self, folder: Path, rows: Sequence[VideoRow], group: int, temperature: float, seed: int) -> list[bool]:
        return right_rollouts(self.policy, folder, rows, group, temperature, seed)


def right_rollouts(
    policy: EmbeddedPolicy, folder: Path, rows: Sequence[VideoRow], group: int, temperature: float, seed: int
) -> list[bool]:
    """Whether each of `group` rollouts of each row is right. `folder` holds the frames of the rows."""
    rollouts = roll_out(policy, folder, rows, group, temperature, seed)
    second = {number: policy.text(tokens) for number, _, tokens in rollouts.second}
    return [
        _is_right(row, policy.text(tokens), second.get(number * group + k, ""))
        for number, (row, texts) in enumerate(zip(rows, rollouts.first, strict=True))
        for k, tokens in enumerate(texts)
    ]


def _is_right(row: VideoRow, first: str, second: str) -> bool:
    """Whether both rounds find the target, or round 1 rightly says that nothing fits, parsed as in the node."""
    keyframe = parse_keyframe(first, len(row.frames))
    if all(box is None for box in row.boxes_xyxy):
        return keyframe.status is Status.NO_TARGET
    box = row.boxes_xyxy[keyframe.index] if keyframe.status is Status.OK else None
    return box is not None and means_targets(second, [box])


def run_two_rounds(plan: GrpoPlan) -> None:
    """Train to the end of the plan, continuing the run in `plan.out`."""
    train_to_end(TwoRoundsGrpo(plan))

"""GRPO of the embedded reasoner: a lean loop for a model of a few million parameters on a CPU."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from reasonseg_ros import __version__
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.right_target import paired
from reasonseg_ros.files.strict_json import json_text, read_json_file
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.images.files import read_image
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.reinforcement.losses import AnswerTokens, group_advantages, grpo_loss
from reasonseg_ros.training.reinforcement.plan import GrpoPlan
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy, QuestionBatch
from reasonseg_ros.training.reinforcement.progress import RunCurves
from reasonseg_ros.training.reinforcement.rewards import RewardTruth, reward_parts
from reasonseg_ros.training.rows import TRUTH_PX, TrainingRow, read_rows

_WARM_UP_STEPS = 10
_MEASURED_SAMPLES = 8
_MEASURED_AT_ONCE = 25
_MAY_CHANGE = ("steps", "out", "threads", "save_every")


class EmbeddedRun:
    """The state of a run. What a step draws depends on seed and step alone, so a resumed run makes the same curve."""

    def __init__(self, plan: GrpoPlan) -> None:
        torch.set_num_threads(plan.threads)
        self.plan = plan
        self.rows = read_rows(plan.rows)
        self._dev_rows = read_rows(plan.dev_rows)[: plan.measured] if plan.dev_rows else []
        self.policy = EmbeddedPolicy(plan.model)
        self._reference = EmbeddedPolicy(plan.model)
        self._reference.model.requires_grad_(False)
        named = {name: p for name, p in self.policy.model.named_parameters() if p.requires_grad}
        self._parameters = list(named.values())
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=plan.rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay
        )
        self.average = {name: p.detach().clone() for name, p in named.items()}
        self.step = 0
        plan.out.mkdir(parents=True, exist_ok=True)
        self._settle()
        if (plan.out / "state.pt").exists():
            self._restore()
        self.progress = RunCurves(plan.out, self.step)

    def _settle(self) -> None:
        """Write the settings, or compare them with those that the run began with."""
        path = self.plan.out / "plan.json"
        settings = {name: str(value) if name in ("model", "rows", "out", "dev_rows") and value else value
                    for name, value in asdict(self.plan).items()}  # fmt: skip
        if path.exists():
            begun = read_json_file(path)["settings"]
            changed = [name for name in settings if name not in _MAY_CHANGE and begun.get(name) != settings[name]]
            if changed:
                name = changed[0]
                raise InvalidInput(
                    f"{self.plan.out} holds a run with {name} {begun.get(name)!r}, not {settings[name]!r}; "
                    "give its settings, or another folder"
                )
        versions = {"reasonseg_ros": __version__, "torch": torch.__version__}
        with whole_file(path) as file:
            file.write(json_text({"settings": settings, "versions": versions}, indent=2) + "\n")

    def save(self) -> None:
        state = {
            "model": self.policy.model.state_dict(),
            "average": self.average,
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
        }
        with whole_file(self.plan.out / "state.pt", "wb") as file:
            torch.save(state, file)

    def _restore(self) -> None:
        state = torch.load(self.plan.out / "state.pt", weights_only=True)
        self.policy.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.average, self.step = state["average"], state["step"]

    def export(self) -> None:
        """Write the averaged weights in the published layout to `checkpoint`."""
        state = {**self.policy.model.state_dict(), **self.average}
        state.pop("lm_head.weight", None)  # the embeddings, which it is tied to
        folder = self.plan.out / "checkpoint"
        self.policy.model.save_pretrained(folder, state_dict=state)
        self.policy.processor.save_pretrained(folder)

    def advance(self) -> dict[str, float]:
        """One step; the values for the log."""
        began, plan = time.monotonic(), self.plan
        rng = np.random.default_rng((plan.seed, self.step))
        rows = [self.rows[i] for i in rng.integers(len(self.rows), size=plan.prompts)]
        asked = _asked(plan.rows, rows)
        answers = self.policy.sampled(asked, plan.group, plan.temperature, int(rng.integers(1 << 62)))
        parts = [
            [reward_parts(plan.reward, self.policy.text(tokens), _truth(row)) for tokens in group]
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
        for group in self._optimizer.param_groups:
            group["lr"] = plan.rate * min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        if alive:
            report |= self._learn(
                QuestionBatch([asked.rgbs[i] for i in alive], [asked.questions[i] for i in alive]),
                [answers[i] for i in alive],
                group_advantages(rewards)[alive].flatten(),
            )
        self.step += 1
        weight = 1 - min(plan.averaging, self.step / (self.step + 9))
        torch._foreach_lerp_(list(self.average.values()), [p.data for p in self._parameters], weight)
        report["seconds"] = time.monotonic() - began
        report["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return report

    def _learn(
        self, asked: QuestionBatch, answers: Sequence[Sequence[list[int]]], advantages: torch.Tensor
    ) -> dict[str, float]:
        with torch.no_grad():
            reference, _, _ = self._reference.log_probabilities(asked, answers)
        sampled = self.plan.prompts * self.plan.group
        before = None
        for _ in range(self.plan.iterations):
            now, entropies, owner = self.policy.log_probabilities(asked, answers)
            before = now.detach() if before is None else before
            tokens = AnswerTokens(now, before, reference, owner)
            loss, report = grpo_loss(tokens, advantages, self.plan.clip, self.plan.kl_weight, sampled)
            loss.backward()
            gradient = torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        values = {**report, "entropy": entropies.mean(), "gradient": gradient, "loss": loss.detach()}
        return {name: float(value) for name, value in values.items()}

    def measure(self) -> dict[str, float]:
        """Share of right targets on the first development rows: greedy, and the mean of eight samples."""
        right: dict[str, list[bool]] = {"greedy": [], "mean_of_8": []}
        for start in range(0, len(self._dev_rows), _MEASURED_AT_ONCE):
            rows = self._dev_rows[start : start + _MEASURED_AT_ONCE]
            asked = _asked(self.plan.dev_rows or self.plan.rows, rows)
            for name, group, temperature in (("greedy", 1, 0.0), ("mean_of_8", _MEASURED_SAMPLES, 1.0)):
                answers = self.policy.sampled(asked, group, temperature, self.plan.seed + start)
                for row, texts in zip(rows, answers, strict=True):
                    right[name] += [_is_right(self.policy.text(tokens), row) for tokens in texts]
        return {name: float(np.mean(values)) for name, values in right.items() if values}


def _asked(folder: Path, rows: Sequence[TrainingRow]) -> QuestionBatch:
    return QuestionBatch([read_image(folder / row.image) for row in rows], [row.question for row in rows])


def _truth(row: TrainingRow) -> RewardTruth:
    return RewardTruth(row.targets, IMAGE_WH)


def _is_right(text: str, row: TrainingRow) -> bool:
    """Whether the answer's boxes mean exactly the targets, as in the evaluation."""
    answer = parse_answer(text, (TRUTH_PX, TRUTH_PX), dialect="vision_reasoner", answer_wh=IMAGE_WH)
    boxes = [found.box_xyxy for found in answer.groundings]
    return answer.status.is_answer and paired(boxes, [target.box_xyxy for target in row.targets])


def run_embedded(plan: GrpoPlan) -> None:
    """Train to the last step; continues the run in `plan.out`."""
    run = EmbeddedRun(plan)
    print(f"{len(run.rows)} rows, from step {run.step} to {plan.steps}", flush=True)
    while run.step < plan.steps:
        values = run.advance()
        if run.step % plan.measure_every == 0 or run.step == plan.steps:
            values |= run.measure()
        run.progress.add(run.step, values)
        if run.step % plan.save_every == 0 or run.step == plan.steps:
            run.save()
            print(f"step {run.step} " + " ".join(f"{name} {value:.3f}" for name, value in values.items()), flush=True)
    run.export()
    run.progress.close()

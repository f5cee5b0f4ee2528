"""A training run of the embedded reasoner on rows: its state, its folder, and its measurements."""

from __future__ import annotations

import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch

from reasonseg_ros.files.card_writer import write_card
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.model_card import load_card
from reasonseg_ros.training.continuing import PLAN, begin_or_continue
from reasonseg_ros.training.reinforcement.plan import MAY_CHANGE, RunPlan
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy
from reasonseg_ros.training.reinforcement.progress import RunCurves

_WARM_UP_STEPS = 10
_MEASURED_SAMPLES = 8
_MEASURED_AT_ONCE = 25

_Row = TypeVar("_Row")


class EmbeddedRun(ABC, Generic[_Row]):
    """The state of a run. Random draws depend only on seed and step, so a resumed run gives the same curve."""

    training: ClassVar[str]
    """The kind of training, which only runs of the same kind continue."""

    def __init__(self, plan: RunPlan, read: Callable[[Path], list[_Row]]) -> None:
        """`read` reads the rows of a folder. Raises InvalidInput if `plan.out` holds a run with other settings."""
        torch.set_num_threads(plan.threads)
        self.plan = plan
        self.rows = read(plan.rows)
        self._dev_rows = read(plan.dev_rows)[: plan.measured] if plan.dev_rows else []
        self.policy = EmbeddedPolicy(plan.model)
        named = {name: p for name, p in self.policy.model.named_parameters() if p.requires_grad}
        self._parameters = list(named.values())
        self.optimizer = torch.optim.AdamW(
            self._parameters, lr=plan.rate, betas=(0.9, 0.99), weight_decay=plan.weight_decay
        )
        self.average = {name: p.detach().clone() for name, p in named.items()}
        self.step = 0
        self.spent_s = 0.0
        is_begun = (plan.out / "state.pt").exists()
        begin_or_continue(plan.out, self.training, asdict(plan), is_begun or (plan.out / PLAN).exists(), MAY_CHANGE)
        if is_begun:
            self._restore()
        self.progress = RunCurves(plan.out, self.step)

    @property
    def is_done(self) -> bool:
        return self.step >= self.plan.steps or 0 < self.plan.cpu_s <= self.spent_s

    def save(self) -> None:
        state = {
            "model": self.policy.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent_s": self.spent_s,
        }
        with whole_file(self.plan.out / "state.pt", "wb") as file:
            torch.save(state, file)

    def _restore(self) -> None:
        state = torch.load(self.plan.out / "state.pt", weights_only=True)
        self.policy.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step, self.spent_s = state["average"], state["step"], state["spent_s"]

    def export(self) -> None:
        """Write the averaged weights in the published layout to `checkpoint`."""
        state = {**self.policy.model.state_dict(), **self.average}
        state.pop("lm_head.weight", None)  # tied to the embeddings
        folder = self.plan.out / "checkpoint"
        self.policy.model.save_pretrained(folder, state_dict=state)
        self.policy.processor.save_pretrained(folder)
        write_card(load_card(str(self.plan.model), "reasoner"), folder)

    def advance(self) -> dict[str, float]:
        """Train one step; returns the values for the log."""
        began, began_cpu_s, plan = time.monotonic(), time.process_time(), self.plan
        rng = np.random.default_rng((plan.seed, self.step))
        rows = [self.rows[i] for i in rng.integers(len(self.rows), size=plan.prompts)]
        for group in self.optimizer.param_groups:
            group["lr"] = plan.rate * min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        report = self._learn(rows, rng)
        self.step += 1
        weight = 1 - min(plan.averaging, self.step / (self.step + 9))
        torch._foreach_lerp_(list(self.average.values()), [p.data for p in self._parameters], weight)
        self.spent_s += time.process_time() - began_cpu_s
        report["seconds"] = time.monotonic() - began
        report["cpu_s"] = self.spent_s
        report["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return report

    @abstractmethod
    def _learn(self, rows: Sequence[_Row], rng: np.random.Generator) -> dict[str, float]:
        """Update the weights on `rows`, with random numbers from `rng`; returns the values for the log."""

    @abstractmethod
    def _right(self, folder: Path, rows: Sequence[_Row], group: int, temperature: float, seed: int) -> list[bool]:
        """Whether each of `group` sampled answers to each row is right. `folder` holds the images of the rows."""

    def _update(self) -> torch.Tensor:
        """Take one optimizer step. Returns the norm of the gradients before it is clipped to 1."""
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def measure(self) -> dict[str, float]:
        """Share of right answers on the development rows: greedy, and the mean of eight samples."""
        right: dict[str, list[bool]] = {"greedy": [], "mean_of_8": []}
        for start in range(0, len(self._dev_rows), _MEASURED_AT_ONCE):
            rows = self._dev_rows[start : start + _MEASURED_AT_ONCE]
            folder = self.plan.dev_rows or self.plan.rows
            for name, group, temperature in (("greedy", 1, 0.0), ("mean_of_8", _MEASURED_SAMPLES, 1.0)):
                right[name] += self._right(folder, rows, group, temperature, self.plan.seed + start)
        return {name: float(np.mean(values)) for name, values in right.items() if values}


def train_to_end(run: EmbeddedRun[_Row]) -> None:
    """Train to the last step, or until the CPU time is spent."""
    plan = run.plan
    print(f"{len(run.rows)} rows, from step {run.step} to {plan.steps}", flush=True)
    while not run.is_done:
        values = run.advance()
        if run.step % plan.measure_every == 0 or run.is_done:
            values |= run.measure()
        run.progress.add(run.step, values)
        if run.step % plan.save_every == 0 or run.is_done:
            run.save()
            print(f"step {run.step} " + " ".join(f"{name} {value:.3f}" for name, value in values.items()), flush=True)
    run.export()
    run.progress.close()

"""Train the embedded reasoner from scratch on rendered tabletop scenes.

Two stages share one time budget: the first trains on dense labels only, the second also on questions. The learning rate
is constant, and decays over the last part of the budget. The running average of the weights is exported. A stopped run
continues from its checkpoint, also with a larger budget.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from transformers.utils.logging import disable_progress_bar

from reasonseg_ros.training.continuing import begin_or_continue
from reasonseg_ros.training.reasoner.plan import ReasonerPlan
from reasonseg_ros.training.reasoner.trainer import CHECKPOINT, Trainer

MAY_CHANGE = ("out", "work", "minutes", "steps", "checkpoint_s", "export_s", "threads")
"""Settings that another part of the same training may change, among them its budget."""


def _run(process: int, plan: ReasonerPlan, meeting: str) -> None:
    """The training loop of one process. Process 0 keeps the time, writes the checkpoint and prints the log."""
    torch.set_num_threads(plan.threads)
    if plan.processes > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=process, world_size=plan.processes)
    stopped = []
    disable_progress_bar()
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    trainer = Trainer(plan, process)
    leads = process == 0
    if leads:
        size = sum(p.numel() for p in trainer.model.parameters())
        print(f"{size / 1e6:.2f} million parameters, {len(trainer.files)} scenes, from step {trainer.step}", flush=True)
    began = saved = exported = time.monotonic()
    began_step, spent_before_s = trainer.step, trainer.spent_s
    while True:
        control = torch.tensor([spent_before_s + time.monotonic() - began, float(bool(stopped))])
        if dist.is_initialized():
            dist.broadcast(control, 0)
        trainer.spent_s = control[0].item()
        if control[1] or trainer.progress >= 1:
            break
        trainer.advance()
        if trainer.step % 50 == 0:
            trainer.files.refresh()
            if trainer.videos:
                trainer.videos.refresh()
        if not leads:
            continue
        now = time.monotonic()
        if trainer.step % 25 == 0:
            rate = (trainer.step - began_step) * plan.batch * plan.processes / (now - began)
            values = " ".join(f"{name} {value:.3f}" for name, value in trainer.report.items())
            print(
                f"step {trainer.step} {trainer.spent_s / 60:.1f} min {trainer.progress:.1%} "
                f"{len(trainer.files)} scenes {rate:.1f} images/s rate {trainer.rate:.2f} {values}",
                flush=True,
            )
        if now - saved > plan.checkpoint_s:
            trainer.save()
            saved = now
        if now - exported > plan.export_s and trainer.question_steps:
            trainer.export()
            exported = now
    if leads:
        trainer.save()
        trainer.export()
        print(f"{'stopped' if control[1] else 'finished'} at step {trainer.step}; exported to {plan.out}", flush=True)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def train_reasoner(plan: ReasonerPlan) -> None:
    """Train until the budget is spent, or until SIGTERM or SIGINT. Continues a checkpoint in `plan.work`.

    Raises InvalidInput if `plan.work` holds another training.
    """
    begin_or_continue(plan.work, "reasoner", asdict(plan), (plan.work / CHECKPOINT).exists(), MAY_CHANGE)
    if plan.processes == 1:
        _run(0, plan, "")
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        helpers = [
            mp.get_context("spawn").Process(target=_run, args=(process, plan, meeting), daemon=True)
            for process in range(1, plan.processes)
        ]
        for helper in helpers:
            helper.start()
        _run(0, plan, meeting)
        for helper in helpers:
            helper.join()

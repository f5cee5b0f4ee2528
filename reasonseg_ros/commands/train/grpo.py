"""`reasonseg train grpo`: train a reasoner with rewards (GRPO)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import number, whole_number
from reasonseg_ros.files.outputs import add_output


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "grpo",
        help="train a reasoner with rewards (GRPO)",
        description="Train a reasoner with rewards (GRPO). A stopped run continues from --out.",
    )
    parser.add_argument("--reward", default="vision_reasoner", help="name of the reward, as in `reasonseg score-text`")
    add_run_options(parser, _NUMBERS)
    parser.set_defaults(action=run)


def add_run_options(parser: argparse.ArgumentParser, numbers: Sequence[Number]) -> None:
    """Add the options shared by all trainings on rows, and the numeric options `numbers`."""
    parser.add_argument("--model", type=Path, default=Path("models/tabletop/reasoner"), help="checkpoint to start from")
    parser.add_argument("--rows", type=Path, required=True, help="folder of training rows")
    parser.add_argument("--dev-rows", type=Path, help="folder of rows for the accuracy during training")
    add_output(parser, "--out", "folder", required=True, help="folder of the run: settings, state, curves, checkpoint")
    parser.add_argument(
        "--engine", default="embedded", help="embedded: the tiny model; trl: published checkpoints, named as in cards"
    )
    for name, kind, value, words in numbers:
        read = whole_number(0) if kind is int else number(0)
        parser.add_argument(f"--{name}", type=read, default=value, help=words)


Number = tuple[str, Any, float, str]
"""A numeric option: name, type, default and help."""
# A test compares these defaults with the plan's.
RUN_NUMBERS: tuple[Number, ...] = (
    ("steps", int, 100, "total steps, resumed runs included"),
    ("cpu-s", float, 0.0, "end earlier after this much CPU time of steps; 0 sets no limit (engine embedded)"),
    ("prompts", int, 16, "questions per step"),
    ("rate", float, 1e-4, "learning rate"),
    ("weight-decay", float, 0.01, "weight decay of AdamW"),
    ("averaging", float, 0.98, "decay of the running average of the exported weights"),
    ("seed", int, 0, "random seed"),
    ("save-every", int, 10, "steps between saved states"),
    ("measure-every", int, 20, "steps between measurements on --dev-rows"),
    ("measured", int, 100, "rows of --dev-rows that are measured"),
    ("threads", int, 1, "CPU threads"),
    ("lora-rank", int, 0, "rank of LoRA adapters; 0 trains all weights (engine trl)"),
)
_NUMBERS: tuple[Number, ...] = (
    *RUN_NUMBERS,
    ("group", int, 8, "sampled answers per question"),
    ("iterations", int, 1, "updates per step on the same answers"),
    ("kl-weight", float, 5e-3, "weight of the KL divergence from the first checkpoint"),
    ("clip", float, 0.2, "clipping range of the probability ratio"),
    ("temperature", float, 1.0, "sampling temperature"),
    (
        "vllm-memory",
        float,
        0.0,
        "share of a GPU's memory for generation with vLLM; 0 generates with transformers (engine trl)",
    ),
)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.reinforcement.plan import GrpoPlan
    from reasonseg_ros.training.reinforcement.video_rewards import VIDEO_REWARDS

    names = {field.name for field in fields(GrpoPlan)}
    plan = GrpoPlan(**{name: value for name, value in vars(settings).items() if name in names})
    if plan.engine == "trl":
        from reasonseg_ros.training.reinforcement.published import run_published

        run_published(plan)
    elif plan.reward in VIDEO_REWARDS:
        from reasonseg_ros.training.reinforcement.two_rounds import run_two_rounds

        run_two_rounds(plan)
    else:
        from reasonseg_ros.training.reinforcement.embedded import run_embedded

        run_embedded(plan)

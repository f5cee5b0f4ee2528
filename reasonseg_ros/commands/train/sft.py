"""`reasonseg train sft`: train a reasoner on the thoughts and targets of rows (supervised)."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from reasonseg_ros.commands.train.grpo import RUN_NUMBERS, add_run_options


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "sft",
        help="train a reasoner on the answers of rows (supervised)",
        description="Train a reasoner on the thoughts and targets of rows. A stopped run continues from --out.",
    )
    add_run_options(parser, RUN_NUMBERS)
    parser.set_defaults(action=run)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.reinforcement.plan import RunPlan

    names = {field.name for field in fields(RunPlan)}
    plan = RunPlan(**{name: value for name, value in vars(settings).items() if name in names})
    if plan.engine == "trl":
        from reasonseg_ros.training.reinforcement.published_sft import run_published_sft

        run_published_sft(plan)
    else:
        from reasonseg_ros.training.reinforcement.supervised import run_supervised

        run_supervised(plan)

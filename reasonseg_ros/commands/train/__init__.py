"""`reasonseg train`: render training data, train the embedded checkpoints on it, and measure them."""

from __future__ import annotations

import argparse
from typing import Any

from reasonseg_ros.commands.train import (
    data,
    grpo,
    points,
    reasoner,
    scenes,
    segmenter,
    selection,
    sft,
    validate,
    videos,
)

VERBS = (scenes, videos, data, reasoner, sft, grpo, validate, segmenter, points, selection)


def register(verbs: Any) -> None:
    train = verbs.add_parser("train", help="render scenes, and train the embedded checkpoints on them")
    kinds = train.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb.register(kinds)
    train.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status

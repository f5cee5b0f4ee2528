"""`reasonseg train reasoner`: train the embedded reasoner."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import number, seed, share, whole_number
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.tabletop.questions.sentences import TO_TRAIN_ON
from reasonseg_ros.training.reasoner.plan import ReasonerPlan


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "reasoner",
        help="train the embedded reasoner",
        description="Train the embedded reasoner on rendered tabletop scenes. A stopped run continues from --work.",
    )
    parser.add_argument("--scenes", type=Path, required=True, help="folder of `reasonseg train scenes`")
    add_output(parser, "--out", "folder", default=Path("models/tabletop/reasoner"), help="exported checkpoint")
    add_output(parser, "--work", "folder", default=Path("out/train-reasoner"), help="state to resume from")
    parser.add_argument("--minutes", type=number(0), default=ReasonerPlan.minutes, help="budget, resumed runs included")
    parser.add_argument(
        "--steps", type=whole_number(0), default=ReasonerPlan.steps, help="budget in steps instead of minutes"
    )
    parser.add_argument("--batch", type=whole_number(1), default=ReasonerPlan.batch, help="images per step and process")
    parser.add_argument(
        "--processes", type=whole_number(1), default=ReasonerPlan.processes, help="one per core; 1 on a GPU"
    )
    parser.add_argument("--seed", type=seed, default=ReasonerPlan.seed)
    parser.add_argument(
        "--dense-share", type=share, default=ReasonerPlan.dense_share, help="share of the budget without questions"
    )
    parser.add_argument(
        "--decay-share", type=share, default=ReasonerPlan.decay_share,
        help="final share of the budget, in which the learning rate decays",
    )  # fmt: skip
    parser.add_argument("--matrix-rate", type=number(0), default=ReasonerPlan.matrix_rate, help="learning rate of Muon")
    parser.add_argument("--rate", type=number(0), default=ReasonerPlan.rate, help="learning rate of AdamW")
    parser.add_argument("--videos", type=Path, help="folder of `reasonseg train videos`")
    parser.add_argument(
        "--video-batch", type=whole_number(1), default=ReasonerPlan.video_batch, help="videos per step and process"
    )
    parser.add_argument("--keep-vision", action="store_true", help="freeze the vision model")
    parser.add_argument(
        "--from", type=Path, dest="start", help="start from the weights of this reasoner.pt or checkpoint folder"
    )
    parser.add_argument("--phrasing", choices=tuple(TO_TRAIN_ON), default="train", help="sentences to train on")
    parser.add_argument(
        "--no-thoughts", action="store_false", dest="thoughts", help="train to answer without a thought"
    )
    parser.set_defaults(action=run)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.reasoner.run import train_reasoner

    names = {field.name for field in fields(ReasonerPlan)}
    train_reasoner(ReasonerPlan(**{name: value for name, value in vars(settings).items() if name in names}))

"""`reasonseg train selection`: train LLM-Seg's selection."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import number, seed, size_wh, whole_number
from reasonseg_ros.files.outputs import add_output

STAGES = ("thoughts", "masks", "train")


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "selection",
        help="train the selection of LLM-Seg",
        description="Train the selection of LLM-Seg for a reasoner and a segmenter: thoughts about rendered scenes, "
        "then the masks that everything mode proposes in them, then the module. A stopped run continues from --work.",
    )
    parser.add_argument("--scenes", type=Path, required=True, help="folder of `reasonseg train scenes`")
    parser.add_argument("--validation", type=Path, required=True, help="other scenes, on which the rule is chosen")
    add_output(parser, "--work", "folder", default=Path("out/train-selection"), help="collected data and state")
    add_output(parser, "--out", "folder", default=Path("models/tabletop/selection"), help="the trained selection")
    parser.add_argument("--reasoner", default="tabletop-reasoner", help="model card or folder, exported")
    parser.add_argument("--segmenter", default="tabletop-segmenter", help="model card or folder, exported")
    parser.add_argument(
        "--grid", type=size_wh, default=(12, 9), dest="grid_wh", metavar="WxH",
        help="points of everything mode (default: 12x9); another grid needs another --work",
    )  # fmt: skip
    parser.add_argument("--until", choices=STAGES, default="train", help="the last stage to run")
    parser.add_argument("--steps", type=whole_number(1), default=6000, help="training steps of the module")
    parser.add_argument("--batch", type=whole_number(1), default=32, help="questions per step")
    parser.add_argument("--width", type=whole_number(4), default=128, help="width of its blocks, a multiple of 4")
    parser.add_argument("--rate", type=number(0), default=1e-3, help="learning rate")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--threads", type=whole_number(1), default=1, help="CPU threads")
    parser.set_defaults(action=run)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.selection.run import SelectionPlan, train_selection

    names = {field.name for field in fields(SelectionPlan)}
    train_selection(SelectionPlan(**{name: value for name, value in vars(settings).items() if name in names}))

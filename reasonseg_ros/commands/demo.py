"""`reasonseg demo`: plays a bag on real topics, and asks the real node its questions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import share
from reasonseg_ros.config import METHODS
from reasonseg_ros.files.outputs import add_output


def register(verbs: Any) -> None:
    demo = verbs.add_parser("demo", help="ask the real node about a bag that is played on real topics")
    demo.add_argument("--bag", type=Path, help="bag with questions and ground truth (default: the included one)")
    add_output(demo, "--out", "folder", default=Path("out/demo"), help="folder for the results (default: %(default)s)")
    demo.add_argument("--params", type=Path, help="the node's parameter file (default: config/reasonseg.yaml)")
    demo.add_argument(
        "--method",
        choices=tuple(METHODS),
        help="method (default: the parameter file's); llm_seg sees one image and refuses the last question, "
        "seg_zero the last two",
    )
    demo.add_argument("--model", help="reasoner: model card, folder or hub id")
    demo.add_argument("--segmenter", help="segmenter: model card, folder or hub id")
    demo.add_argument("--min-giou", type=share, default=0.7, help="mean IoU needed for success (default: %(default)s)")
    demo.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    from reasonseg_ros.demo.run import run_demo

    chosen = {"method": settings.method, "reasoner.model": settings.model, "segmenter.model": settings.segmenter}
    overrides = {name: value for name, value in chosen.items() if value}
    return run_demo(settings.bag, settings.out, settings.params, overrides, settings.min_giou)

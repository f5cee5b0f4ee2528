"""`reasonseg train rows`: questions about rendered scenes as training rows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.files.outputs import add_output


def register(verbs: Any) -> None:
    parser = verbs.add_parser("rows", help="write questions about rendered scenes as rows for `train grpo`")
    parser.add_argument("--scenes", type=Path, required=True, help="folder of `reasonseg train scenes`")
    add_output(parser, "--out", "folder", required=True, help="folder of the rows and their images")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--phrasing", choices=("train", "test"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(action=run)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.scene_rows import write_scene_rows

    write_scene_rows(settings.scenes, settings.out, settings.count, settings.phrasing, settings.seed)

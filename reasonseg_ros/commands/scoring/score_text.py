"""`reasonseg score-text`: the parts of the reward that a model's text on stdin would earn in training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import size_wh
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.strict_json import json_text, parse_json


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "score-text",
        help="print the parts of the reward that a text on stdin earns",
        description="Print the parts of the reward that a model's text on stdin earns in training, as JSON.",
    )
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument("--targets", help='JSON: [{"box_xyxy": [x1, y1, x2, y2], "points_xy": [[x, y]]}], 840 px')
    truth.add_argument("--rows", type=Path, help="folder of training rows; needs --id")
    parser.add_argument("--id", default="", help="of the row")
    parser.add_argument("--reward", default="vision_reasoner", help="name of the reward")
    parser.add_argument(
        "--model-size", type=size_wh, default=(840, 840), metavar="WxH",
        help="size of the image whose pixels the text uses; default: 840x840",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.reinforcement.rewards import RewardTruth, reward_parts
    from reasonseg_ros.training.rows import read_rows, targets_from_values

    if settings.rows:
        found = [row for row in read_rows(settings.rows) if row.id == settings.id]
        if len(found) != 1:
            raise InvalidInput(f"{len(found)} rows of {settings.rows} have the id {settings.id!r}; name one with --id")
        targets = found[0].targets
    else:
        targets = targets_from_values(_targets(settings.targets))
    text = sys.stdin.buffer.read().decode("utf-8", errors="replace").removesuffix("\n")
    parts = reward_parts(settings.reward, text, RewardTruth(targets, settings.model_size))
    print(json_text({"reward": sum(parts.values()), "parts": parts}))


def _targets(text: str) -> Any:
    try:
        return parse_json(text)
    except InvalidInput as error:
        raise InvalidInput(f"--targets {text!r:.100} is no JSON: {error}") from None

"""`reasonseg score-text`: prints the parts of the reward that a model's text earns in training."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reasonseg_ros.commands.options import size_wh
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.bounded import MOST_TEXT_BYTES, read_data, read_standard_input
from reasonseg_ros.files.strict_json import json_text, parse_json

if TYPE_CHECKING:
    from reasonseg_ros.training.rows import AnyRow

_Row = TypeVar("_Row", bound="AnyRow")


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "score-text",
        help="print the parts of the reward that a text on stdin earns",
        description="Print the parts of the reward that a model's text on stdin earns in training, as JSON.",
    )
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument(
        "--targets",
        help='JSON: [{"box_xyxy": [x1, y1, x2, y2], "points_xy": [[x, y]]}], in pixels of an image of 840x840',
    )
    truth.add_argument(
        "--boxes", help="JSON: [[x1, y1, x2, y2], null, ...], the target in each frame (rewards of two rounds)"
    )
    truth.add_argument("--rows", type=Path, help="folder of training rows; needs --id")
    parser.add_argument("--id", default="", help="id of the row")
    parser.add_argument("--reward", default="vision_reasoner", help="name of the reward")
    parser.add_argument("--second-round", type=Path, metavar="FILE", help="the text of round 2 (rewards of two rounds)")
    parser.add_argument(
        "--model-size", type=size_wh, default=(840, 840), metavar="WxH",
        help="size of the image to which the coordinates refer; default: 840x840",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.reinforcement.rewards import REWARDS, RewardTruth, reward_parts
    from reasonseg_ros.training.reinforcement.video_rewards import VIDEO_REWARDS, VideoTruth, video_reward_parts
    from reasonseg_ros.training.rows import read_rows, targets_from_values
    from reasonseg_ros.training.video_rows import boxes_from_values, read_video_rows

    if settings.reward not in (*REWARDS, *VIDEO_REWARDS):
        raise InvalidInput(f"reward {settings.reward!r}; expected one of {', '.join((*REWARDS, *VIDEO_REWARDS))}")
    if settings.id and not settings.rows:
        raise InvalidInput("--id has no effect without --rows; leave it out")
    text = _text(read_standard_input())
    if settings.reward in VIDEO_REWARDS:
        if settings.targets is not None:
            raise InvalidInput(f"--targets are of one image; the reward {settings.reward} needs --boxes or --rows")
        boxes = (
            _row(settings, read_video_rows).boxes_xyxy if settings.rows else boxes_from_values(_json(settings.boxes))
        )
        second = _text(read_data(settings.second_round, MOST_TEXT_BYTES)) if settings.second_round else ""
        parts = video_reward_parts(settings.reward, text, second, VideoTruth(boxes, settings.model_size))
    else:
        if settings.boxes is not None or settings.second_round:
            raise InvalidInput(
                f"--boxes and --second-round belong to {', '.join(VIDEO_REWARDS)}, not {settings.reward}"
            )
        targets = _row(settings, read_rows).targets if settings.rows else targets_from_values(_json(settings.targets))
        parts = reward_parts(settings.reward, text, RewardTruth(targets, settings.model_size))
    print(json_text({"reward": sum(parts.values()), "parts": parts}))


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace").removesuffix("\n")


def _row(settings: argparse.Namespace, read: Callable[[Path], list[_Row]]) -> _Row:
    found = [row for row in read(settings.rows) if row.id == settings.id]
    if len(found) != 1:
        raise InvalidInput(f"{len(found)} rows of {settings.rows} have the id {settings.id!r}; name one with --id")
    return found[0]


def _json(text: str) -> Any:
    try:
        return parse_json(text)
    except InvalidInput as error:
        raise InvalidInput(f"{text!r:.100} is not JSON: {error}") from None

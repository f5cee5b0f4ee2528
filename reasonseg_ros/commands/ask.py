"""`reasonseg ask`: asks about an image file without ROS, or asks a running node."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonseg_ros.commands.options import fill_dependent, node_name, number
from reasonseg_ros.config import METHODS
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.outputs import IMAGE_ENDINGS, add_output

if TYPE_CHECKING:
    from reasonseg_ros.types import Region

_NODE_DEFAULTS = {"name": "/reasonseg", "wait": 10.0}
METHOD = "seg_zero"
"""Differs from the node's default, because a file holds a single image."""


def register(verbs: Any) -> None:
    ask = verbs.add_parser(
        "ask",
        help="ask about an image file, or ask a running node about its camera",
        usage="reasonseg ask IMAGE QUESTION [options]\n       reasonseg ask --node QUESTION [options]",
    )
    ask.add_argument("image", type=Path, nargs="?", help="image file; omit with --node")
    ask.add_argument("question")
    add_output(ask, "--out", "file", IMAGE_ENDINGS, help="write the image with the masks drawn on it")
    file = ask.add_argument_group("about an image file")
    file.add_argument("--method", choices=tuple(METHODS), help=f"method (default: {METHOD})")
    file.add_argument("--model", help="reasoner: model card, folder or hub id")
    file.add_argument("--segmenter", help="segmenter: model card, folder or hub id")
    file.add_argument("--device", help="torch device of both models, for example cpu or cuda:0")
    node = ask.add_argument_group("about the newest image of a running node")
    node.add_argument("--node", action="store_true", help="ask the node, and stream its thought (needs ROS 2)")
    node.add_argument("--name", type=node_name, help=f"the node's name (default: {_NODE_DEFAULTS['name']})")
    node.add_argument(
        "--wait",
        type=number(0, 86400),
        metavar="S",
        help=f"seconds to wait for the node (default: {_NODE_DEFAULTS['wait']})",
    )
    ask.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    fill_dependent(settings, settings.node, _NODE_DEFAULTS, "without --node")
    if settings.node:
        return _ask_node(settings)
    if settings.image is None:
        raise InvalidInput("no image; run `reasonseg ask IMAGE QUESTION`, or `reasonseg ask --node QUESTION`")
    return _ask_file(settings)


def _ask_node(settings: argparse.Namespace) -> int:
    unused = {"an image": settings.image, "--method": settings.method, "--model": settings.model,
              "--segmenter": settings.segmenter, "--device": settings.device}  # fmt: skip
    if given := [name for name, value in unused.items() if value]:
        raise InvalidInput(f"--node with {', '.join(given)}; the node has its own models and camera, leave them out")
    try:
        from reasonseg_ros.ros.client.asking import ask_node
    except ImportError as error:
        raise InvalidInput(f"--node needs ROS 2 and the messages; source the workspace ({error})") from error
    return ask_node(settings.question, settings.name, settings.wait, settings.out, sys.stdout)


def _ask_file(settings: argparse.Namespace) -> int:
    from reasonseg_ros.config import config_from
    from reasonseg_ros.images.files import read_image, write_image
    from reasonseg_ros.methods.loading import load_method
    from reasonseg_ros.types import Frame, Query, Status

    frame = Frame(read_image(settings.image))
    chosen = {
        "method": settings.method or METHOD,
        "reasoner.model": settings.model,
        "segmenter.model": settings.segmenter,
        "reasoner.device": settings.device,
        "segmenter.device": settings.device,
    }
    method = load_method(config_from({name: value for name, value in chosen.items() if value}))
    segmentation = method.answer(frame, Query(settings.question))
    answer = segmentation.answer
    alternative = segmentation.alternative if answer.status is Status.UNSURE else None
    report = {
        "status": str(answer.status),
        "confidence": None if answer.confidence is None else round(answer.confidence, 3),
        "thought": answer.thought,
        "regions": [_region_values(region) for region in segmentation.regions],
        "alternative": None if alternative is None else [_region_values(region) for region in alternative],
        "error": answer.error or None,
        "seconds": {stage: round(value, 3) for stage, value in segmentation.seconds.items()},
    }
    print(json.dumps(report, indent=2, ensure_ascii=False))
    if settings.out:
        from reasonseg_ros.images.overlays.drawing import draw_answer

        write_image(settings.out, draw_answer(frame.rgb, segmentation.regions, settings.question, answer))
    return 0 if answer.status.is_answer else 1


def _region_values(region: Region) -> dict[str, Any]:
    return {
        "box_xyxy": region.box_xyxy.tolist(),
        "grounding_box_xyxy": region.grounding.box_xyxy.tolist(),
        "points_xy": region.grounding.points_xy.tolist(),
        "label": region.label,
        "mask_score": round(region.mask_score, 4),
        "area_px": int(region.mask.sum()),
    }

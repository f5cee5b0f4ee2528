"""`reasonseg parse`: reads a model's text from stdin, and prints the parsed answer as JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any

from reasonseg_ros.commands.options import size_wh
from reasonseg_ros.files.bounded import read_standard_input
from reasonseg_ros.model_card import DIALECTS
from reasonseg_ros.reasoner.dialects.parsing import parse_answer


def parse_text(
    text: str,
    size_wh: tuple[int, int],
    dialect: str = "auto",
    strict: bool = False,
    model_size_wh: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The parsed answer as JSON values. Boxes and points are in pixels of an image of `size_wh`.

    `model_size_wh` is the image size that the coordinates in the text refer to; None takes the dialect's default.
    """
    answer = parse_answer(text, size_wh, dialect=dialect, strict=strict, answer_wh=model_size_wh)
    groundings = [
        {
            "box_xyxy": _rounded(grounding.box_xyxy),
            "points_xy": _rounded(grounding.points_xy),
            "label": grounding.label,
            "score": grounding.score,
        }
        for grounding in answer.groundings
    ]
    return {
        "status": str(answer.status),
        "dialect": answer.dialect or None,
        "thought": answer.thought,
        "groundings": groundings,
        "error": answer.error or None,
    }


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("parse", help="parse a model's text on stdin, print its meaning as JSON")
    parser.add_argument("--size", type=size_wh, required=True, metavar="WxH", help="size of the camera image, pixels")
    parser.add_argument("--dialect", choices=("auto", *DIALECTS), default="auto", help="auto detects it from the text")
    parser.add_argument("--strict", action="store_true", help="parse like the checkpoint's published scoring script")
    parser.add_argument(
        "--model-size", type=size_wh, metavar="WxH",
        help="size of the image to which the coordinates refer; default: by the dialect",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    text = read_standard_input().decode("utf-8", errors="replace")
    result = parse_text(text, arguments.size, arguments.dialect, arguments.strict, arguments.model_size)
    print(json.dumps(result, ensure_ascii=False))
    return 0


def _rounded(values: Any) -> Any:
    return [_rounded(value) for value in values] if hasattr(values, "__len__") else round(float(values), 3)

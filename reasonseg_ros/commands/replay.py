"""`reasonseg replay`: answers the questions of black boxes again, and compares the answers."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import set_values, share
from reasonseg_ros.config import METHODS
from reasonseg_ros.plain_text import one_line

BACKENDS: Mapping[str, Mapping[str, str]] = {
    "onnxruntime": {"reasoner.backend": "onnxruntime", "segmenter.backend": "onnxruntime"},
    "torch": {"reasoner.backend": "local", "segmenter.backend": "torch"},
}
"""The node's parameters that `--backend` sets."""
VERDICTS = ("identical", "within tolerance", "differs", "not answered")


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "replay",
        help="answer the questions of black boxes again, and show what differs",
        description="Answer the questions of black boxes again from the files alone, with the recorded settings and "
        "changes by the options, and compare text, status, confidence, boxes, masks and positions. Masks are compared "
        "on the image that was reasoned on; tracking is not replayed. Exit status 1 if an answer differs or cannot be "
        "replayed.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="black boxes, or bags of `bag merge`")
    card = {"metavar": "CARD", "help": "model card, folder or hub id (default: as recorded)"}
    parser.add_argument("--reasoner", "--model", dest="reasoner", **card)
    parser.add_argument("--segmenter", **card)
    parser.add_argument("--method", choices=tuple(METHODS), help="method (default: as recorded)")
    parser.add_argument(
        "--backend", choices=tuple(BACKENDS), help="runtime of reasoner and segmenter (default: as recorded)"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", dest="overrides",
        help="the node's parameters, for example reasoner.dtype=bfloat16 segmenter.backend=tensorrt",
    )  # fmt: skip
    parser.add_argument(
        "--box-px", type=length, default=1.0, metavar="PX",
        help="tolerance of boxes and points, pixels (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--mask-iou", type=share, default=0.99, metavar="IOU", help="minimum IoU of masks (default: %(default)g)"
    )
    parser.add_argument(
        "--confidence", type=share, default=0.01, metavar="P", help="tolerance of confidences (default: %(default)g)"
    )
    parser.add_argument(
        "--position-m", type=length, default=0.01, metavar="M",
        help="tolerance of 3D positions, metres (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--any-text", action="store_true", help="texts may differ if status, boxes and masks agree")
    parser.set_defaults(run=run)


def length(text: str) -> float:
    """A number of pixels or metres, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number, 0 or more")
    return value


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from reasonseg_ros.config import config_from
    from reasonseg_ros.methods.loading import load_method
    from reasonseg_ros.recording.comparison import Tolerance
    from reasonseg_ros.recording.reading import read_black_boxes
    from reasonseg_ros.recording.replaying import Replay

    changed = overrides(arguments)
    config_from(changed)  # names and values are checked before any file is read
    counts = Counter(dict.fromkeys(VERDICTS, 0))
    for path in arguments.files:  # unreadable files are refused before any model is loaded
        for _ in read_black_boxes(path):
            pass
    tolerance = Tolerance(
        arguments.box_px, arguments.mask_iou, arguments.confidence, arguments.position_m, arguments.any_text
    )
    replay = Replay(load_method, changed, tolerance)
    console = Console(stderr=True)
    printed: tuple[str, ...] = ()
    for path in arguments.files:
        print(path, flush=True)
        for box in read_black_boxes(path):
            with console.status("Answering"):
                found = replay.run(box)
            counts[found.verdict] += 1
            if found.changes != printed:
                for change in found.changes:
                    print(f"  changed: {one_line(change)}")
                printed = found.changes
            print(f"  {one_line(box.query.query_id)} {one_line(box.query.text)[:80]!r}: {found.text}", flush=True)
    stated = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    print(f"{sum(counts.values())} answers: {stated}")
    return 1 if counts["differs"] or counts["not answered"] else 0


def overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """The node's parameters that the options change, by dotted name. Raises ConfigError."""
    options = {
        "--backend": BACKENDS.get(arguments.backend, {}),
        "--reasoner": {"reasoner.model": arguments.reasoner},
        "--segmenter": {"segmenter.model": arguments.segmenter},
        "--method": {"method": arguments.method},
    }
    return set_values(arguments.overrides, options)

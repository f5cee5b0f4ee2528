"""`reasonseg score`: scores the masks of any tool against targets, and prints the scores as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import naming
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.plain_text import one_line


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "score",
        help="score masks of any other method",
        description="Score masks against targets of the same name and print JSON. Masks are PNG (0 is background; in a "
        "target 255 is ignored) or COCO run lengths in JSON: one file per mask, or one file with all names. A "
        "prediction that is missing, damaged or of another size counts 0. Failure types are derived from each mask's "
        "box and innermost point, or from the peaks of a method's activation map. Exit status 1 if anything failed.",
    )
    parser.add_argument("--predictions", type=Path, required=True, metavar="DIR", help="folder, or one JSON file")
    parser.add_argument(
        "--targets", type=Path, required=True, metavar="DIR",
        help="folder, one JSON file, or a bag, whose targets are named by the ids of their questions",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", choices=("lisa", "seg_zero"), default="lisa",
        help="lisa excludes ignored pixels, seg_zero counts them as target (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--video", action="store_true", help="names are EXPRESSION/FRAME, in a bag 00000, 00001, ...; adds J, F and J&F"
    )
    parser.add_argument(
        "--activations", type=Path, metavar="DIR",
        help="activation maps of the same names, .npy [h, w] or PNG of one channel, of any size",
    )  # fmt: skip
    add_output(parser, "--each", "file", metavar="FILE", help="also write one JSON line per sample, with its type")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    from reasonseg_ros.evaluation.scoring.mask_scores import MaskScore, score_masks

    console = Console(stderr=True)

    def progress(names: list[str]) -> Iterable[str]:
        return track(names, description="Scoring", console=console, disable=not console.is_terminal)

    with ExitStack() as files:
        try:
            lines = files.enter_context(arguments.each.open("w", encoding="utf-8")) if arguments.each else None
        except OSError as error:
            raise InvalidInput(f"--each {arguments.each} cannot be written: {error.strerror}") from error

        def keep(sample: MaskScore) -> None:
            if lines:
                with naming(arguments.each):
                    print(json_text(sample.to_json()), file=lines)

        result = score_masks(
            arguments.predictions, arguments.targets, arguments.protocol, arguments.video,
            on_problem=lambda line: print(f"reasonseg: {one_line(line)}", file=sys.stderr), progress=progress,
            activations=arguments.activations, on_sample=keep,
        )  # fmt: skip
    print(json_text(result, indent=2))
    return 1 if result["failed"] or result.get("without_activation") else 0

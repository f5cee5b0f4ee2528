"""`reasonseg compare A B`: prints as JSON how run B differs from run A, and optionally writes a page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import share
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.plain_text import one_line


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "compare",
        help="compare two evaluations of the same samples",
        description="Print, as JSON, how run B differs from run A: every score with a paired bootstrap 95 % interval, "
        "and the samples that changed. Exit status 1 if the runs do not have the same scored samples.",
    )
    parser.add_argument("before", type=Path, metavar="A", help="folder of a run, or its results.jsonl")
    parser.add_argument("after", type=Path, metavar="B", help="the other run")
    parser.add_argument(
        "--changed-iou",
        type=share,
        default=0.05,
        metavar="IOU",
        help="minimum change of the IoU for the list (default: %(default)s)",
    )
    add_output(
        parser, "--report", "file", (".html", ".htm"), metavar="FILE",
        help="also write a page with both answers to every sample",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from reasonseg_ros.evaluation.report.comparison import compare, outcomes_of
    from reasonseg_ros.evaluation.result_lines import Results
    from reasonseg_ros.evaluation.run_folder import check_same_protocol, noted_settings

    before, after = Results(arguments.before), Results(arguments.after)
    check_same_protocol(before.path.parent, after.path.parent)
    found = compare(
        outcomes_of(before.values()), outcomes_of(after.values()), arguments.changed_iou,
        lambda line: print(f"reasonseg: {one_line(line)}", file=sys.stderr),
    )  # fmt: skip
    if arguments.report:
        from reasonseg_ros.evaluation.report.comparison_page import write_comparison

        folders = before.path.resolve().parent, after.path.resolve().parent
        settings = noted_settings(folders[0]), noted_settings(folders[1])
        try:
            write_comparison(arguments.report, settings, (before, after), found, folders)
        except OSError as error:
            raise InvalidInput(f"--report {arguments.report} cannot be written: {error.strerror}") from error
    print(json_text(found, indent=2))
    return 1 if found["failed"] else 0

"""`reasonseg compare A B`: how run B differs from run A, as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Add the verb to the subparsers of a command line."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two evaluations of the same samples",
        description="Print, as JSON, how run B differs from run A: every score with a paired bootstrap 95 % interval, "
        "and the samples that changed. Exit status 1 where the runs do not hold the same scored samples.",
    )
    parser.add_argument("before", type=Path, metavar="A", help="results.json, or the folder that holds it")
    parser.add_argument("after", type=Path, metavar="B", help="the other run")
    parser.add_argument(
        "--changed-iou",
        type=float,
        default=0.05,
        metavar="IOU",
        help="a smaller change is not listed (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from reasonseg_ros.evaluation.comparison import compare, outcomes_of
    from reasonseg_ros.evaluation.results import read_results

    runs = [outcomes_of(read_results(_results_file(path))[1]) for path in (arguments.before, arguments.after)]
    result = compare(runs[0], runs[1], arguments.changed_iou, lambda line: print(f"reasonseg: {line}", file=sys.stderr))
    print(json.dumps(result, indent=2, ensure_ascii=False))
    return 1 if result["failed"] else 0


def _results_file(path: Path) -> Path:
    return path / "results.json" if path.is_dir() else path

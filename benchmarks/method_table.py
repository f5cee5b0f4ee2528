"""Every method on the same questions, in trained and in unseen phrasings, as Markdown tables.

    reasonseg tabletop bag --seed 20310000 --scenes 130 --questions 4 --no-depth --out out/trained
    reasonseg tabletop bag --seed 20320000 --scenes 130 --questions 4 --no-depth --phrasing unseen --out out/unseen
    python -m benchmarks.method_table trained=out/trained unseen=out/unseen --out out/methods \
        [--methods seg_zero rea2_seg] [--limit 500]

Each method on each bag is one run of `reasonseg evaluate`, one question after the other. Its report stays in --out. An
interrupted run resumes where it stopped. Seconds are medians over the questions; memory is that of the process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reasonseg_ros.config import METHODS
from reasonseg_ros.evaluation.scoring.sgdr_kinds import SGDR_KINDS

SCORES = {"giou": "gIoU", "ciou": "cIoU", "right_target": "right target", "n_acc": "N-acc"}
KINDS = tuple(dict.fromkeys(SGDR_KINDS.values()))

Summaries = Mapping[str, Mapping[str, Any]]
"""Summaries of runs by method."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Every method on the same questions.")
    parser.add_argument("bags", nargs="+", metavar="NAME=BAG")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N questions of each bag")
    arguments = parser.parse_args()
    for name, _, bag in (given.partition("=") for given in arguments.bags):
        if not bag:
            parser.error(f"{name!r}; expected NAME=BAG")
        found = {}
        for method in arguments.methods:
            folder = arguments.out / name / method
            evaluate(Path(bag), method, folder, arguments.limit)
            found[method] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        print("\n".join([f"{name}:", "", *table(found), ""]), flush=True)


def evaluate(bag: Path, method: str, folder: Path, limit: int) -> None:
    """Raises CalledProcessError if the evaluation fails."""
    command = [sys.executable, "-m", "reasonseg_ros.cli", "evaluate", str(bag), "--method", method]
    command += ["--out", str(folder), "--ahead", "0", "--no-counterfactual"]
    command += ["--limit", str(limit)] if limit else []
    command += ["--resume"] if (folder / "results.jsonl").is_file() else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def table(found: Summaries) -> Sequence[str]:
    """A row for each method; the last columns are the gIoU by kind of ReasonSeg-SGDR."""
    heads = ["method", "questions", *SCORES.values(), *KINDS, "AUROC", "seconds", "peak memory, MiB"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for method, summary in found.items():
        cells = [f"`{method}`", str(summary["scored"]), *(_score(summary[key]) for key in SCORES)]
        cells += [_score(summary["by_sgdr"].get(kind, {}).get("giou")) for kind in KINDS]
        cells += [_score(summary["selective"].get("auroc"))]
        cells += [f"{summary['latency_s']['total']['p50']:.2f}", f"{summary['memory_peak_mib']['process']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()

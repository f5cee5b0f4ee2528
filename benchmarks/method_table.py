"""Every method on the same questions, as a table of Markdown.

    reasonseg tabletop bag --seed 20400000 --scenes 170 --questions 3 --phrasing unseen --no-depth --out out/unseen
    python -m benchmarks.method_table out/unseen --out out/methods [--methods seg_zero rea2_seg] [--limit N]

Each method is one run of `reasonseg evaluate`, one question after the other, whose report stays in --out; a run that
was interrupted goes on where it was. Seconds are medians over the questions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasonseg_ros.config import METHODS

SCORES = {"giou": "gIoU", "ciou": "cIoU", "right_target": "right target", "n_acc": "N-acc"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Every method on the same questions.")
    parser.add_argument("bag", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N questions")
    arguments = parser.parse_args()
    found = {}
    for method in arguments.methods:
        folder = arguments.out / method
        evaluate(arguments.bag, method, folder, arguments.limit)
        found[method] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    print(table(found))


def evaluate(bag: Path, method: str, folder: Path, limit: int) -> None:
    """Raises CalledProcessError if the evaluation fails."""
    command = [
        sys.executable,
        "-m",
        "reasonseg_ros.cli",
        "evaluate",
        str(bag),
        "--method",
        method,
        "--out",
        str(folder),
    ]
    command += ["--ahead", "0", "--no-counterfactual", *(["--limit", str(limit)] if limit else [])]
    command += ["--resume"] if (folder / "results.jsonl").is_file() or (folder / "results.json").is_file() else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows of summaries by method."""
    lines = [
        f"| method | questions | {' | '.join(SCORES.values())} | seconds | peak memory, MiB |",
        "|---|---|" + "---|" * len(SCORES) + "---|---|",
    ]
    for method, summary in found.items():
        scores = " | ".join("" if summary[key] is None else f"{summary[key]:.3f}" for key in SCORES)
        seconds, memory = summary["latency_s"]["total"]["p50"], summary["memory_peak_mib"]["process"]
        lines.append(f"| `{method}` | {summary['scored']} | {scores} | {seconds:.2f} | {memory:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

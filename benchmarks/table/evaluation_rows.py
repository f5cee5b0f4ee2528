"""A whole evaluation as a process, compared with the plain sequence in a loop over the same bag; and late answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.results import ROOT, Row, compared
from benchmarks.timing import side_by_side
from reasonseg_ros.errors import ReasonSegError

SEED, QUESTIONS_AN_IMAGE = 20_900_000, 2


def evaluation_row(cache: Path, samples: int, repetitions: int, device: str = "cpu") -> Row:
    """Both read the bag, answer and score; the start is included. The evaluation also writes its report."""
    scenes = -(-samples // QUESTIONS_AN_IMAGE)
    bag = cache / f"tabletop-{scenes}"
    if not bag.is_dir():
        asked = ["--seed", SEED, "--scenes", scenes, "--questions", QUESTIONS_AN_IMAGE, "--out", bag]
        run("-m", "reasonseg_ros.cli", "tabletop", "bag", "--no-depth", *map(str, asked))
    out = cache / "evaluation"
    evaluate = ["-m", "reasonseg_ros.cli", "evaluate", str(bag), "--limit", str(samples), "--out", str(out)]
    evaluate += ["--ahead", "8"]
    evaluate += ["--set", f"reasoner.device={device}", f"segmenter.device={device}"]
    loop = ["-m", "benchmarks.table.plain", str(bag), "--limit", str(samples), "--device", device]

    def ours() -> float:
        shutil.rmtree(out, ignore_errors=True)
        run(*evaluate)
        return float(json.loads((out / "summary.json").read_text(encoding="utf-8"))["giou"])

    times, giou = side_by_side(
        {"other": lambda: json.loads(run(*loop).splitlines()[-1])["giou"], "ours": ours}, repetitions, warm_up=0
    )
    return compared(
        f"{samples} samples evaluated", "`reasonseg evaluate --ahead 8`",
        "the plain sequence in a loop", 3.0, times, details={"giou": giou},
        note=f"gIoU {giou['ours']:.3f} and {giou['other']:.3f}; the evaluation refines masks, segments from the true "
        "boxes as well, sorts failures and writes a report, the loop does nothing of that; processes from start to end",
    )  # fmt: skip


def late_rows(folder: Path, videos: int) -> Iterator[Row]:
    """`benchmarks.late_answers`: late masks of moved targets, unchanged and propagated."""
    out = folder / "late"
    run("-m", "benchmarks.late_answers", "--videos", str(videos), "--out", str(out))
    found = json.loads(max(out.glob("*-late-answers.json")).read_text(encoding="utf-8"))
    for tracker, kinds in found["by_tracker"].items():
        for delay_s, table in kinds["moved"].items():
            if not table["answers"]:
                continue
            was, box = (table[name]["mean"] if table[name] else "not known" for name in ("as_it_was", "same_box"))
            yield Row(
                f"IoU with the truth when published, answer {float(delay_s):g} s late, {tracker}",
                "carried to the newest image",
                f"as reasoned on: {was}; the same box: {box}",
                table["carried"]["mean"],
                "IoU",
                note=f"{table['answers']} targets that moved; simulated time, catching up takes "
                f"{table['catch_up_s']['median']:.2f} s in the median",
                details=table,
            )


def run(*arguments: str) -> str:
    """Output of a Python process. Raises ReasonSegError with the end of its stderr if it fails."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        errors: Sequence[str] = (done.stderr or done.stdout).splitlines()[-8:]
        raise ReasonSegError(f"`{' '.join(arguments)}` ended with {done.returncode}: {' '.join(errors)}")
    return done.stdout

"""`python -m benchmarks.cost [NAME ...]`: measure the curves, write `results/<date>-cost.json` and draw the plots.

Each curve is measured in a separate process. Curves of earlier runs in the same file are kept, so one can be measured
again. `--plot` only draws.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from benchmarks.cost.curve import Curve
from benchmarks.cost.curves import LONG, NAMES, measured
from benchmarks.results import RESULTS, ROOT, commit, machine

IMAGES = ROOT / "docs" / "images"
PICTURES = {"cost.png": tuple(name for name in NAMES if name not in LONG), "growth.png": LONG}
"""The curves of each picture."""


def draw(curves: list[Curve], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = 2
    rows = -(-len(curves) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9, 2.7 * rows), squeeze=False)
    for axis, curve in zip(axes.flat, curves, strict=False):
        for index, label in enumerate(curve.series, 1):
            axis.plot([p[0] for p in curve.points], [p[index] for p in curve.points], marker="o", ms=3, label=label)
        if curve.logarithmic:
            axis.set_xscale("log")
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.set_title(curve.name, fontsize=9)
        axis.set_xlabel(curve.against, fontsize=8)
        axis.legend(fontsize=7)
        axis.tick_params(labelsize=7)
    for axis in axes.flat[len(curves) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def table(curve: Curve) -> str:
    """In Markdown."""
    names = (curve.against, *curve.series)
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(f'{value:.4g}' for value in point)} |" for point in curve.points]
    return "\n".join([f"### {curve.name}", "", curve.note, "", *lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="the shortest run, to see that everything works")
    parser.add_argument("--most", type=int, default=0, help="last point of the curves of frames and bags, at least 100")
    parser.add_argument("--plot", action="store_true", help="draw what was measured before")
    parser.add_argument("--out", type=Path, help="the JSON file (default: today's in benchmarks/results)")
    settings = parser.parse_args()
    if unknown := set(settings.names) - set(NAMES):
        parser.error(f"no curves {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if settings.most and settings.most < 100:
        parser.error(f"--most {settings.most}; the first point is at 100")
    out = settings.out or RESULTS / f"{datetime.date.today().isoformat()}-cost.json"
    known = json.loads(out.read_text(encoding="utf-8"))["curves"] if out.is_file() else {}
    for name in () if settings.plot else settings.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            curve = pool.submit(measured, name, settings.quick, settings.most).result()
        known[name] = {**asdict(curve), "commit": commit(), "machine": machine()["cpu"]}
        out.write_text(json.dumps({"curves": known}, indent=1), encoding="utf-8")
        print(table(curve), flush=True)
    for picture, names in PICTURES.items():
        if settings.plot or not settings.names or set(names) & set(settings.names):
            curves = [_curve(known[name]) for name in names if name in known]
            if curves:
                draw(curves, (out.parent if settings.quick else IMAGES) / picture)
    return 0


def _curve(values: dict[str, object]) -> Curve:
    kept = {name: values[name] for name in ("name", "against", "series", "note", "logarithmic")}
    return Curve(**kept, points=tuple(map(tuple, values["points"])))


if __name__ == "__main__":
    sys.exit(main())

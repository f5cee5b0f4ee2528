"""Table and plot of the comparison, from the files of `scores`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.scores import SAMPLED_SETS, SAMPLES, SETS
from reasonseg_ros.evaluation.scoring.bootstrap import intervals, resampled_sums
from reasonseg_ros.tabletop.questions.everyday import GROUPS, group_of
from reasonseg_ros.tabletop.questions.question import KINDS

START = "start"
KIND_SETS = ("trained phrasings", "unseen phrasings", "everyday phrasings")

Scores = dict[str, dict[str, list[Any]]]
"""The scores of one run by the name of the question set, as `write_scores` writes them."""
PerQuestion = NDArray[np.float64]
Measures = dict[str, dict[str, PerQuestion]]
"""Scores of each question by measure and arm, as means over the runs of the arm."""


def write_report(
    out: Path, arms: Sequence[str], sets: Sequence[str] = SETS, sampled_sets: Sequence[str] = SAMPLED_SETS
) -> None:
    """Write `table.md` and `comparison.png` for all arms that have scores."""
    runs = {arm: _runs(out / "scores", arm) for arm in arms}
    measures = _measures(runs, sets, sampled_sets)
    parts = _tables_of_parts(runs) if set(KIND_SETS) & set(sets) else []
    table = "\n".join([*_table(runs, measures), *parts]) + "\n"
    (out / "table.md").write_text(table, encoding="utf-8")
    _draw(measures, out / "comparison.png")
    print(table)


def _runs(folder: Path, arm: str) -> list[Scores]:
    """The scores of each run of an arm, by set."""
    return [
        {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(run.glob("*.json"))}
        for run in sorted(folder.glob(f"{arm} [0-9]*"))
    ]


def _measures(runs: Mapping[str, Sequence[Scores]], sets: Sequence[str], sampled_sets: Sequence[str]) -> Measures:
    measures: Measures = {}
    for name, arm, scores, right in _scored(runs, sets):
        measures.setdefault(f"{name}, greedy", {})[arm] = right
        if name in sampled_sets:
            counts = np.array([score["right_of_8"] for score in scores], float)
            measures.setdefault(f"{name}, mean of 8", {})[arm] = counts.mean(0) / SAMPLES
            measures.setdefault(f"{name}, pass of 8", {})[arm] = (counts > 0).mean(0)
    return measures


def _scored(
    runs: Mapping[str, Sequence[Scores]], sets: Sequence[str]
) -> Iterator[tuple[str, str, list[dict[str, Any]], PerQuestion]]:
    """Set, arm, the scores of its runs, and the share of runs with a right greedy answer to each question."""
    for name in sets:
        for arm, found in runs.items():
            if scores := [run[name] for run in found if name in run]:
                yield name, arm, scores, np.mean([score["right"] for score in scores], 0)


def difference(after: PerQuestion, before: PerQuestion) -> tuple[float, float, float]:
    """Mean of `after` minus `before` over paired questions, and its 95 % interval by bootstrap over questions."""
    change = (after - before)[:, None]
    low, high = next(intervals(resampled_sums(change) / len(change))) or (np.nan, np.nan)
    return float(change.mean()), low, high


def _table(runs: Mapping[str, Sequence[Scores]], measures: Measures) -> list[str]:
    shown = [arm for arm in runs if runs[arm]]
    lines = ["| share right | " + " | ".join(f"{arm} ({len(runs[arm])})" for arm in shown) + " |"]
    lines.append("|---" * (len(shown) + 1) + "|")
    for name, arms in measures.items():
        count = len(next(iter(arms.values())))
        lines.append(f"| {name} ({count}) | " + " | ".join(_cell(arms, arm) for arm in shown) + " |")
    return lines


def _cell(arms: Mapping[str, PerQuestion], arm: str) -> str:
    if arm not in arms:
        return ""
    value = f"{arms[arm].mean():.3f}"
    if arm == START or START not in arms:
        _, low, high = difference(arms[arm], np.zeros_like(arms[arm]))
        return f"{value} [{low:.3f}, {high:.3f}]"
    change, low, high = difference(arms[arm], arms[START])
    return f"{value} ({change:+.3f} [{low:+.3f}, {high:+.3f}])"


def _tables_of_parts(runs: Mapping[str, Sequence[Scores]]) -> list[str]:
    """Lines of two tables of greedy answers: by kind of question, and for everyday questions by what is unusual."""
    lines = []
    for names, sets in ((KINDS, KIND_SETS), (tuple(GROUPS), ("everyday phrasings",))):
        lines += ["", "| set | arm | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
        for name, arm, (first, *_), right in _scored(runs, sets):
            parts = first["kind"] if names is KINDS else [group_of(text) for text in first["question"]]
            own = [right[np.array(parts) == part] for part in names]
            values = [f"{part.mean():.3f} ({part.size})" if part.size else "" for part in own]
            lines.append(f"| {name} | {arm} | " + " | ".join(values) + " |")
    return lines


def _draw(measures: Measures, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1 + 0.5 * len(measures)), layout="constrained")
    axes = figure.add_subplot()
    names = list(measures)
    arms = [arm for arm in {arm: None for found in measures.values() for arm in found} if arm != START]
    for number, arm in enumerate(arms):
        rows = [i for i, name in enumerate(names) if {arm, START} <= set(measures[name])]
        found = [difference(measures[names[i]][arm], measures[names[i]][START]) for i in rows]
        centre = np.array([change for change, _, _ in found])
        spread = [centre - [low for _, low, _ in found], [high for _, _, high in found] - centre]
        height = np.array(rows) + (number - (len(arms) - 1) / 2) * 0.14
        axes.errorbar(centre, height, xerr=np.maximum(spread, 0), fmt="o", markersize=4, label=arm)
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("share right, difference from the start (95 % interval over questions)")
    if arms:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)

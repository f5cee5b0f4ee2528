"""Two runs over the same samples side by side: one self-contained HTML file.

The template is `comparison.html.jinja`. This module gives it both answers to each sample, and where their masks differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from reasonseg_ros.evaluation.report.page import outline, pictures_json, script_json, write_page
from reasonseg_ros.evaluation.report.run_page import SCORES, sample_values
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.failures import DESCRIPTIONS
from reasonseg_ros.evaluation.scoring.summary import NO_KIND
from reasonseg_ros.images.run_lengths import mask_from_rle

SampleResults = Mapping[str, SampleResult]
"""Results of a run by sample id."""


def write_comparison(
    path: Path,
    runs: tuple[Mapping[str, Any], Mapping[str, Any]],
    results: tuple[SampleResults, SampleResults],
    found: Mapping[str, Any],
    folders: tuple[Path, Path],
) -> None:
    """Write the page for the result `found` of `compare`. The file is replaced only when it is complete.

    Every sample of both runs is shown: the changed ones first, and in each group the largest change of IoU first. Only
    the two results of one sample are in memory at a time. The pictures come from the first of `folders`.
    """
    before, after = results
    changed = {row["sample_id"] for row in found["changed"]}
    order: dict[str, tuple[bool, float]] = {}
    moves: Counter[tuple[str, str]] = Counter()
    kinds: set[str] = set()
    pictures: dict[str, None] = {}
    for sample_id in filter(after.__contains__, before):
        old, new = before[sample_id], after[sample_id]
        order[sample_id] = sample_id not in changed, -abs(gain(old, new))
        moves[old.failure, new.failure] += bool(old.failure and new.failure)
        kinds.add(old.kind or NO_KIND)
        pictures[old.image] = None

    def samples() -> Iterator[Markup]:
        for sample_id in sorted(order, key=order.__getitem__):
            yield script_json(pair_values(before[sample_id], after[sample_id], sample_id in changed))

    curves = (found["selective"] or {}).values()
    write_page(
        path,
        "comparison.html.jinja",
        runs=runs,
        names=[folder.name for folder in folders],
        found=found,
        risk_top=max((risk for run in curves for _, risk in run["risk_curve"]), default=0.0) or 1.0,
        changed_settings=changed_settings(*runs),
        scores={key: name for key, name in SCORES.items() if key in found["scores"]},
        moves=moves,
        types={str(kind): text for kind, text in DESCRIPTIONS.items() if any(str(kind) in move for move in moves)},
        kinds=sorted(kinds),
        samples_json=samples(),
        pictures_json=pictures_json(pictures, folders[0]),
    )


def gain(old: SampleResult, new: SampleResult) -> float:
    """The increase of IoU; 0 if either has no score."""
    return new.score.iou - old.score.iou if old.score and new.score else 0.0


def pair_values(old: SampleResult, new: SampleResult, changed: bool) -> dict[str, Any]:
    """A sample's values for the page: both answers, and the outlines of the areas in only one of the masks."""
    masks = [
        mask_from_rle(result.mask) if result.mask else np.zeros(result.size_wh[::-1], bool) for result in (old, new)
    ]
    same_size = masks[0].shape == masks[1].shape
    return {
        "answers": [sample_values(old), sample_values(new)],
        "changed": changed,
        "gain": round(gain(old, new), 4),
        "lost": outline(masks[0] & ~masks[1]) if same_size else "",
        "gained": outline(masks[1] & ~masks[0]) if same_size else "",
    }


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ between two runs, by dotted names. Command, notes and unreadable parts are left out."""
    flat = [dict(_flat(run)) for run in (before, after)]
    names = dict.fromkeys(chain(*flat))
    pairs = {name: (flat[0].get(name, ""), flat[1].get(name, "")) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if prefix + name in ("command", "unreadable", "notes"):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value

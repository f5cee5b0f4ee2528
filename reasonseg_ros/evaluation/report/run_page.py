"""The report of a run: one self-contained HTML file, readable without a network.

The template is `report.html.jinja`. This module gives it the numbers, and each sample's picture and outlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from reasonseg_ros.evaluation.report.page import outline, pictures_json, script_json, write_page
from reasonseg_ros.evaluation.report.published import PUBLISHED_VIDEO, SPLIT_SIZES, published_on
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.failures import DEFAULT_THRESHOLDS, DESCRIPTIONS
from reasonseg_ros.evaluation.scoring.summary import NO_KIND
from reasonseg_ros.images.run_lengths import mask_from_rle

SCORES = {
    "giou": "gIoU",
    "ciou": "cIoU",
    "nciou": "ncIoU",
    "n_acc": "N-acc",
    "right_target": "right target",
    "parseable": "parseable",
    "box_acc_50": "box IoU > 0.5",
    "points_in_target": "points in target",
    "boundary_iou": "boundary IoU",
    "boundary_f": "boundary F",
}
"""Keys of the summary in the report, and their names there."""
VIDEO_SCORES = {"j": "J", "f": "F", "j_and_f": "J&F"}
"""The same for runs with videos."""


def write_report(
    path: Path, run: dict[str, Any], summary: dict[str, Any], results: Iterable[SampleResult], folder: Path
) -> None:
    """Write the report of a run whose pictures are in `folder`. The file is replaced only when it is complete.

    The samples are shown in the order of `results`. One is in memory at a time.
    """
    names: dict[str, None] = {}  # of the pictures; complete after the samples, which the template writes first

    def samples() -> Iterator[Markup]:
        for result in results:
            names[result.image] = None
            yield script_json(sample_values(result))

    data_sets = run.get("data_sets", [])
    data_set = data_sets[0] if len(data_sets) == 1 else ""
    write_page(
        path,
        "report.html.jinja",
        run=run,
        summary=summary,
        scores={**VIDEO_SCORES, **SCORES} if summary["expressions"] else SCORES,
        data_set=data_set,
        split_size=SPLIT_SIZES.get(data_set, 0),
        published=published_on(data_set),
        published_video=[row for row in PUBLISHED_VIDEO if row.data == data_set],
        types={str(kind): text for kind, text in DESCRIPTIONS.items()},
        sweeps=sweep_charts(summary),
        selective=summary["selective"],
        risk_top=max((risk for _, risk in summary["selective"].get("risk_curve", [])), default=0.0) or 1.0,
        samples_json=samples(),
        pictures_json=pictures_json(names, folder),
    )


def sweep_charts(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """For each threshold of the failure rules, the number of samples of each type at each of its values.

    `counts` has the types that change or, if none does, the tags. A threshold that changes neither in this run is left
    out. `used` is the threshold of the run.
    """
    charts = []
    used = asdict(DEFAULT_THRESHOLDS)
    for threshold, rows in summary["sweeps"].items():
        for counted in ("types", "tags"):
            counts = {name: [row[counted].get(name, 0) for row in rows] for row in rows for name in row[counted]}
            counts = {name: values for name, values in counts.items() if len(set(values)) > 1}
            if counts:
                values = [row["value"] for row in rows]
                charts.append({"threshold": threshold, "used": used[threshold], "values": values, "counts": counts})
                break
    return charts


def sample_values(result: SampleResult) -> dict[str, Any]:
    """A sample's values for the page. Outlines are SVG paths in pixels of the image."""
    score = result.score
    return {
        "id": result.sample_id,
        "question": result.question,
        "kind": result.kind or NO_KIND,
        "split": result.split,
        "status": result.status,
        "error": result.error,
        "thought": result.thought,
        "text": result.raw_text,
        "targetThought": result.target_thought,
        "type": result.failure,
        "tags": result.failure_tags,
        "iou": None if score is None else round(score.iou, 4),
        "ideal": result.ideal_iou,
        "right": None if score is None else score.right_target,
        "image": result.image,
        "size": list(result.size_wh),
        "mask": outline(mask_from_rle(result.mask)) if result.mask else "",
        "target": outline(mask_from_rle(result.target)) if result.target else "",
        "boxes": [grounding["box_xyxy"] for grounding in result.groundings],
        "points": [point for grounding in result.groundings for point in grounding["points_xy"]],
        "maskScores": [region["mask_score"] for region in result.regions],
        "seconds": round(sum(result.seconds.values()), 3),
        "tokens": result.tokens,
        "confidence": result.confidence,
    }

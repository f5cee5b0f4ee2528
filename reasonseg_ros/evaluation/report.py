"""The report of a run: one HTML file that needs nothing else, readable without a network.

The page is `report.html.jinja`; here it gets its numbers, and each sample its picture and outlines.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reasonseg_ros.evaluation.failures import DESCRIPTIONS
from reasonseg_ros.evaluation.published import PUBLISHED
from reasonseg_ros.evaluation.results import SampleResult, mask_from_rle
from reasonseg_ros.evaluation.summary import UNKNOWN_KIND
from reasonseg_ros.types import BoolMask

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
"""Keys of the summary that the report shows, and what they are called there."""
VIDEO_SCORES = {"j": "J", "f": "F", "j_and_f": "J&F"}
"""The same, of a run with videos."""

_OUTLINE_TOLERANCE = 0.0015
"""An outline is simplified by at most this share of the image's diagonal."""


def write_report(
    path: Path, run: dict[str, Any], summary: dict[str, Any], results: Iterable[SampleResult], folder: Path
) -> None:
    """Write the report of a run whose pictures lie in `folder`; it takes its place when it is complete.

    The samples are shown in the order of `results`. One is read, drawn and written at a time.
    """
    names: dict[str, None] = {}  # of the pictures; complete when the samples are written, which is first

    def samples() -> Iterator[Markup]:
        for result in results:
            names[result.image] = None
            yield _script_json(sample_values(result))

    def pictures() -> Iterator[Markup]:
        for name in names:
            yield _script_json([name, _picture(folder / name)])

    environment = Environment(
        loader=PackageLoader("reasonseg_ros.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["score"] = _score
    page = environment.get_template("report.html.jinja").stream(
        run=run,
        summary=summary,
        scores={**SCORES, **VIDEO_SCORES} if summary["expressions"] else SCORES,
        published=PUBLISHED,
        types={str(kind): text for kind, text in DESCRIPTIONS.items()},
        samples_json=samples(),
        pictures_json=pictures(),
    )
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        page.dump(file)
    part.replace(path)


def sample_values(result: SampleResult) -> dict[str, Any]:
    """What the page needs of a sample. Outlines are SVG paths in pixels of the image."""
    score = result.score
    return {
        "id": result.sample_id,
        "question": result.question,
        "kind": result.kind or UNKNOWN_KIND,
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
    }


def outline(mask: BoolMask) -> str:
    """The outlines of a mask and its holes as an SVG path, to be filled by the even-odd rule."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    tolerance_px = _OUTLINE_TOLERANCE * float(np.hypot(*mask.shape))
    paths = []
    for contour in found:
        points = cv2.approxPolyDP(contour, tolerance_px, True).reshape(-1, 2)
        paths.append("M" + "L".join(f"{x} {y}" for x, y in points) + "Z")
    return "".join(paths)


def _picture(path: Path) -> str:
    try:
        return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""  # the page says that the picture is gone


def _script_json(values: Any) -> Markup:
    """JSON for inside a script element: nothing in it may end the element."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _score(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"

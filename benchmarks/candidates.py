"""Candidates of Rea2Seg on questions with known answers: the best one (oracle), the chosen one and the direct one.

    reasonseg tabletop bag --seed 20400000 --scenes 170 --questions 3 --phrasing unseen --no-depth --out out/unseen
    python -m benchmarks.candidates out/unseen --rows out/rows.jsonl [--limit 500] [--set NAME=VALUE ...]

Each answered question is written to --rows as a line at once. A resumed run asks only questions without a line.
--part 1/2 and --part 2/2 share the questions between two processes.

The table gives the gIoU of each by kind of question. "rho" is Spearman's rank correlation of scores and IoUs within a
question. It is averaged over questions with at least three candidates whose IoUs differ by more than 0.2. "rescued"
counts, among the questions with a direct IoU below 0.5, those with a candidate of at least 0.5, by its source.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.stats import spearmanr

from benchmarks.samples import labelled
from reasonseg_ros.config import config_from
from reasonseg_ros.evaluation.scoring.bootstrap import intervals, resampled_sums
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.candidates import DIRECT
from reasonseg_ros.methods.rea2_seg import Compared, Rea2Seg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.types import BoolMask, Query

LEAST_SPREAD, FEWEST = 0.2, 3
RIGHT_IOU = 0.5


@dataclass(frozen=True)
class Row:
    """One question, with the sources and IoUs of its candidates."""

    kind: str
    direct: float
    chosen: float
    sources: Sequence[str]
    ious: Sequence[float]
    scores: Sequence[float | None]
    seconds: float

    @property
    def oracle(self) -> float:
        return max((*self.ious, self.direct))

    @property
    def rho(self) -> float | None:
        """None if too few candidates differ; 0 if all scores are equal."""
        if len(self.ious) < FEWEST or np.ptp(self.ious) <= LEAST_SPREAD:
            return None
        scores = [-1.0 if score is None else score for score in self.scores]
        return float(spearmanr(scores, self.ious)[0]) if np.ptp(scores) else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Candidates of Rea2Seg: oracle, chosen, direct.")
    parser.add_argument("bag", type=Path)
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first N questions")
    parser.add_argument("--rows", type=Path, required=True, metavar="FILE", help="JSON lines, one per question")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="only every N-th question, from the K-th on")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", dest="overrides")
    arguments = parser.parse_args()
    values = {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in arguments.overrides)}
    part, parts = map(int, arguments.part.split("/"))
    method = loaded(values)
    known = read(arguments.rows)
    for number, sample in enumerate(labelled(arguments.bag)):
        if number == arguments.limit > 0:
            break
        if number % parts != part - 1 or sample.sample_id in known:
            continue
        frame = sample.load_frame()
        compared = method.compare(frame, Query(sample.question))
        found = row(sample.kind, compared, sample.truth.mask)
        with arguments.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"sample_id": sample.sample_id, **asdict(found)}) + "\n")
    print(report(list(read(arguments.rows).values())))


def read(path: Path) -> dict[str, Row]:
    """Rows by the ids of their samples."""
    if not path.is_file():
        return {}
    values = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    return {value.pop("sample_id"): Row(**value) for value in values}


def loaded(values: dict[str, object]) -> Rea2Seg:
    """The method alone, without trackers and confidence."""
    config = config_from({"reasoner.time_limit_s": 3600.0, **values, "method": "rea2_seg"})
    segmenter = KeptFeatures(load_segmenter(config.segmenter), config.segmenter.kept_frames)
    return Rea2Seg(SegZero(load_reasoner(config.reasoner), segmenter, config))


def row(kind: str, compared: Compared, target: BoolMask) -> Row:
    ious = tuple(mask_iou(one.mask, target) for one in compared.candidates)
    sources = tuple(one.source for one in compared.candidates)
    direct = ious[0] if sources[:1] == (DIRECT,) else 0.0
    segmentation = compared.segmentation
    chosen = mask_iou(segmentation.mask, target) if segmentation.status.has_mask else 0.0
    return Row(kind, direct, chosen, sources, ious, compared.scores, sum(segmentation.seconds.values()))


def report(rows: Sequence[Row]) -> str:
    """A Markdown table, and the values in it."""
    lines = [
        "| kind | questions | candidates | oracle | direct | chosen | rho (questions) | seconds |",
        "|---|---|---|---|---|---|---|---|",
        line("**all**", rows),
        *(line(kind, [row for row in rows if row.kind == kind]) for kind in sorted({row.kind for row in rows})),
    ]
    wrong = [row for row in rows if row.direct < RIGHT_IOU]
    rescued = Counter(
        source
        for row in wrong
        for source in {one for one, iou in zip(row.sources, row.ious, strict=True) if iou >= RIGHT_IOU}
    )
    gain = np.array([[row.chosen - row.direct, 1.0] for row in rows])
    sums = resampled_sums(gain)
    ((low, high),) = (interval or (np.nan, np.nan) for interval in intervals(sums[:, :1] / sums[:, 1:]))
    gain = gain[:, 0]
    lines += [
        "",
        f"chosen - direct: {gain.mean():+.4f} (95 % interval {low:+.4f} to {high:+.4f}); better on "
        f"{int((gain > 0.05).sum())}, worse on {int((gain < -0.05).sum())}",
        f"rescued: of {len(wrong)} questions with a wrong direct answer, by source "
        + (", ".join(f"{source} {count}" for source, count in rescued.most_common()) or "none"),
    ]
    return "\n".join(lines)


def line(name: str, rows: Sequence[Row]) -> str:
    correlations = [row.rho for row in rows if row.rho is not None]
    rho = f"{np.mean(correlations):.2f} ({len(correlations)})" if correlations else "(0)"
    means = [np.mean([getattr(row, key) for row in rows]) for key in ("oracle", "direct", "chosen")]
    scores = " | ".join(f"{mean:.3f}" for mean in means)
    count = np.mean([len(row.ious) for row in rows])
    return f"| {name} | {len(rows)} | {count:.1f} | {scores} | {rho} | {np.mean([row.seconds for row in rows]):.2f} |"


if __name__ == "__main__":
    main()

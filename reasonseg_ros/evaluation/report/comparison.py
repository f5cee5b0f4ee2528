"""Compares two runs over the same samples by their paired difference."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.metrics import SampleScore, difference
from reasonseg_ros.evaluation.scoring.selective import selective_summary
from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.images.run_lengths import Rle


@dataclass(frozen=True)
class ComparedSample:
    """The values of a sample that are compared. `target` is a digest of its ground truth; empty if not known."""

    question: str
    status: str
    failure: str
    score: SampleScore | None
    confidence: float | None = None
    target: str = ""


def outcomes_of(results: Iterable[SampleResult]) -> dict[str, ComparedSample]:
    """The compared values by sample id."""
    return {
        r.sample_id: ComparedSample(r.question, r.status, r.failure, r.score, r.confidence, _digest(r.target, r.ignore))
        for r in results
    }


def _digest(target: Rle | None, ignore: Rle | None) -> str:
    return "" if target is None else hashlib.sha256(json_text([target, ignore]).encode()).hexdigest()


def compare(
    before: dict[str, ComparedSample],
    after: dict[str, ComparedSample],
    changed_iou: float = 0.05,
    on_problem: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The difference of two runs, as plain values:

    - `samples`: number of ids in either run;
    - `compared`: number of ids that were scored in both, on the same question and ground truth;
    - `failed`: number of the other ids, for each of which `on_problem` is called with a line;
    - `scores`: each score before and after, and the difference with its paired bootstrap 95 % interval;
    - `changed`: samples whose status or failure type changed, or whose IoU changed by more than `changed_iou`, worst
      first;
    - `selective`: risk and coverage of each run over the samples with a confidence in both; None without such samples.

    Raises InvalidInput if no sample was scored in both.
    """
    ids = [*before, *(sample_id for sample_id in after if sample_id not in before)]
    pairs: dict[str, tuple[ComparedSample, ComparedSample]] = {}
    olds, news = [], []
    for sample_id in ids:
        old, new = before.get(sample_id), after.get(sample_id)
        if old is None or new is None:
            on_problem(f"{sample_id}: only in the {'second' if old is None else 'first'} run")
        elif old.score is None or new.score is None:
            on_problem(f"{sample_id}: without a score in the {'first' if old.score is None else 'second'} run")
        elif old.question != new.question:
            on_problem(f"{sample_id}: {old.question[:80]!r} in the first run, {new.question[:80]!r} in the second")
        elif old.target != new.target and old.target and new.target:
            on_problem(f"{sample_id}: its ground truth differs in the second run; evaluate both on the same bag")
        else:
            pairs[sample_id] = old, new
            olds.append(old.score)
            news.append(new.score)
    if not pairs:
        raise InvalidInput("no sample was scored in both runs; compare two runs over the same bag with ground truth")
    changed: list[dict[str, Any]] = [
        {
            "sample_id": sample_id,
            "question": new.question,
            "iou": [old_score.iou, new_score.iou],
            "status": [old.status, new.status],
            "failure": [old.failure, new.failure],
        }
        for (sample_id, (old, new)), old_score, new_score in zip(pairs.items(), olds, news, strict=True)
        if abs(new_score.iou - old_score.iou) > changed_iou or (old.status, old.failure) != (new.status, new.failure)
    ]
    changed.sort(key=lambda row: row["iou"][1] - row["iou"][0])
    moves = Counter(f"{old.failure} to {new.failure}" for old, new in pairs.values() if old.failure != new.failure)
    return {
        "samples": len(ids),
        "compared": len(pairs),
        "failed": len(ids) - len(pairs),
        "better": sum(new.iou > old.iou for old, new in zip(olds, news, strict=True)),
        "worse": sum(new.iou < old.iou for old, new in zip(olds, news, strict=True)),
        "scores": difference(olds, news),
        "selective": _selective(list(pairs.values())),
        "failure_moves": dict(moves.most_common()),
        "changed": changed,
    }


def _selective(pairs: Sequence[tuple[ComparedSample, ComparedSample]]) -> dict[str, Any] | None:
    known = [pair for pair in pairs if all(one.confidence is not None for one in pair)]
    if not known:
        return None
    sides = zip(("before", "after"), zip(*known, strict=True), strict=True)
    return {
        name: selective_summary(
            [one.confidence for one in run if one.confidence is not None],
            [one.score.right_target for one in run if one.score],
        )
        for name, run in sides
    }

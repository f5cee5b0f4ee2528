"""Summarises a run: scores, also by kind of question, failures, times and tokens."""

from __future__ import annotations

import pickle
import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.failures import FailureType, Measurement
from reasonseg_ros.evaluation.scoring.metrics import SampleScore, summarise
from reasonseg_ros.evaluation.scoring.repair import described, loss_shares, repair_gains, sweeps
from reasonseg_ros.evaluation.scoring.selective import selective_summary
from reasonseg_ros.evaluation.scoring.sgdr_kinds import SGDR_KINDS
from reasonseg_ros.evaluation.scoring.video_metrics import FrameScore, frame_score, summarise_videos

PERCENTILES = (50, 90, 95, 99)
NO_KIND = "(not stated)"
"""Shown for questions whose kind is not known. `unknown` is the tabletop's kind of questions about unknown things."""


@dataclass(frozen=True, slots=True)
class Row:
    """The values of a result that a summary needs. They are few, so a run of any size fits into memory.

    `packed` holds `score`, `measured` and `seconds`: as objects they take three times the memory.
    """

    kind: str
    is_sentence: bool
    status: str
    answered: bool
    failure: str
    ideal_iou: float | None
    tokens: int
    expression: str
    packed: bytes
    asked_again: bool = False
    confidence: float | None = None

    @property
    def score(self) -> SampleScore | None:
        values = pickle.loads(self.packed)[0]
        return None if values is None else SampleScore(*values)

    @property
    def measured(self) -> Measurement | None:
        values = pickle.loads(self.packed)[1]
        return None if values is None else Measurement(*values)

    @property
    def seconds(self) -> tuple[tuple[str, float], ...]:
        found: tuple[tuple[str, float], ...] = pickle.loads(self.packed)[2]
        return found


def row(result: SampleResult) -> Row:
    score, measured = (None if values is None else astuple(values) for values in (result.score, result.measured))
    return Row(
        sys.intern(result.kind or NO_KIND),
        result.is_sentence,
        sys.intern(result.status),
        result.answered,
        sys.intern(result.failure),
        result.ideal_iou,
        result.tokens,
        result.sample_id if result.expression == result.sample_id else result.expression,
        pickle.dumps((score, measured, tuple(result.seconds.items()))),
        result.asked_again,
        result.confidence,
    )


def summary(rows: Sequence[Row], lost: Mapping[str, int]) -> dict[str, Any]:
    """Counts, scores with bootstrap intervals, the same by kind and length of the question, times and tokens.

    `by_sgdr` has the kinds of `SGDR_KINDS`. It is empty if no question is of one of them.

    An expression with several frames is a video. J, F and J&F are means over its frames, then over the videos. A frame
    without an answer counts 0.

    `lost` is the number of questions that could not be evaluated, by kind. samples = scored + without_truth + failed.
    """
    kinds = sorted({row.kind for row in rows} | set(lost))
    lengths = {"short": False, "long": True}
    return {
        **_group(rows, sum(lost.values())),
        "by_expression": _videos(rows)["by_expression"],
        "by_kind": {kind: _group([row for row in rows if row.kind == kind], lost.get(kind, 0)) for kind in kinds},
        "by_sgdr": _by_sgdr(rows),
        "by_length": {
            name: _group([row for row in rows if row.is_sentence is long], 0) for name, long in lengths.items()
        },
        "statuses": dict(Counter(row.status for row in rows).most_common()),
        "failures": _failures(rows),
        "selective": _selective(rows),
        "sweeps": sweeps([row.measured for row in rows if row.measured is not None]),
        "latency_s": _latencies(rows),
        "tokens": _tokens(rows),
        "memory_peak_mib": memory_peak_mib(),
    }


def _by_sgdr(rows: Sequence[Row]) -> dict[str, Any]:
    groups: dict[str, list[Row]] = {kind: [] for kind in SGDR_KINDS.values()}
    for row in rows:
        if row.kind in SGDR_KINDS:
            groups[SGDR_KINDS[row.kind]].append(row)
    return {kind: _group(group, 0) for kind, group in groups.items() if group}


def _group(rows: Sequence[Row], failed: int) -> dict[str, Any]:
    scores = [row.score for row in rows if row.score is not None]
    values, videos = summarise(scores), _videos(rows)
    judged = [row for row in rows if row.score is not None]
    return {
        **values,
        **{key: videos[key] for key in ("j", "f", "j_and_f", "expressions")},
        "intervals_95": {**values["intervals_95"], **videos["intervals_95"]},
        "samples": len(rows) + failed,
        "scored": len(scores),
        "without_truth": len(rows) - len(scores),
        "failed": failed,
        "unanswered": sum(not row.answered for row in rows),
        "loss": loss_shares(*_ious(judged)),
        "failures": {str(kind): sum(row.failure == kind for row in rows) for kind in FailureType},
    }


def _selective(rows: Sequence[Row]) -> dict[str, Any]:
    """How well the confidence separates right targets from wrong ones, over the scored answers that have one."""
    known = [(row.confidence, row.score.right_target) for row in rows if row.score and row.confidence is not None]
    return selective_summary([confidence for confidence, _ in known], [is_right for _, is_right in known])


def _videos(rows: Sequence[Row]) -> dict[str, Any]:
    frames: dict[str, list[FrameScore]] = {}
    for row in rows:
        if row.measured is not None and row.expression:
            frames.setdefault(row.expression, []).append(frame_score(row.measured))
    return summarise_videos({name: scores for name, scores in frames.items() if len(scores) > 1})


def _failures(rows: Sequence[Row]) -> dict[str, Any]:
    """For each type: the number of samples, their mean IoU, and what repairing them would gain."""
    judged = [row for row in rows if row.score is not None]
    return described(repair_gains([FailureType(row.failure) for row in judged], *_ious(judged)))


def _ious(judged: Sequence[Row]) -> tuple[list[float], list[float | None]]:
    """IoUs, and IoUs with the true prompts. Without a target the latter is 1, as a perfect reasoner prompts nothing."""
    scores = [row.score for row in judged if row.score is not None]
    ideals = [1.0 if score.target_empty else row.ideal_iou for row, score in zip(judged, scores, strict=True)]
    return [score.iou for score in scores], ideals


def _latencies(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    stages: dict[str, list[float]] = {}
    for row in rows:
        for stage, seconds in row.seconds:
            stages.setdefault(stage, []).append(seconds)
        stages.setdefault("total", []).append(sum(seconds for _, seconds in row.seconds))
    return {stage: _spread(values) for stage, values in stages.items()}


def _spread(values: Sequence[float]) -> dict[str, float]:
    percentiles = np.percentile(values, PERCENTILES)
    named = {f"p{name}": round(float(value), 4) for name, value in zip(PERCENTILES, percentiles, strict=True)}
    return {"mean": round(float(np.mean(values)), 4), **named, "max": round(float(max(values)), 4)}


def _tokens(rows: Sequence[Row]) -> dict[str, float]:
    tokens = [row.tokens for row in rows]
    return {"total": sum(tokens), **(_spread(tokens) if tokens else {})}


def memory_peak_mib() -> dict[str, float]:
    """Peak memory of this process, and of torch on the GPU if there is one, MiB."""
    factor = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor / 2**20}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    return {name: round(value, 1) for name, value in peak.items()}

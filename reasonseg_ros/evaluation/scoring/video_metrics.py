"""J, F and J&F of videos: region and boundary agreement per frame (Perazzi et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.bootstrap import intervals, ratios, resampled_sums
from reasonseg_ros.evaluation.scoring.boundaries import boundary_f
from reasonseg_ros.evaluation.scoring.failures import Measurement
from reasonseg_ros.evaluation.scoring.metrics import without_ignored
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.types import BoolMask

VIDEO_SCORES = ("j", "f", "j_and_f")


@dataclass(frozen=True)
class FrameScore:
    """`j`: IoU, 1 where both masks are empty. `f`: boundary F-measure."""

    j: float
    f: float

    @property
    def j_and_f(self) -> float:
        return (self.j + self.f) / 2


def score_frame(prediction: BoolMask | None, target: BoolMask, ignore: BoolMask | None = None) -> FrameScore:
    """Score one frame, bool [H, W], without the ignored pixels. A missing prediction counts 0, whatever the target.

    Raises InvalidInput if the sizes differ.
    """
    if prediction is None:
        return FrameScore(0.0, 0.0)
    prediction, target = without_ignored(prediction, target, ignore, "lisa")
    return FrameScore(mask_iou(prediction, target), boundary_f(prediction, target))


def frame_score(measured: Measurement) -> FrameScore:
    """J and F of a scored sample, without the ignored pixels, whatever the protocol of its other scores."""
    if not measured.parsed:
        return FrameScore(0.0, 0.0)
    if measured.target_empty and measured.prediction_empty:
        return FrameScore(1.0, 1.0)
    return FrameScore(measured.iou, measured.boundary_f)


def summarise_videos(expressions: Mapping[str, Sequence[FrameScore]]) -> dict[str, Any]:
    """`j`, `f` and `j_and_f`: means over an expression's frames, then over expressions. `by_expression` has each one.

    `intervals_95` are bootstrapped over expressions. Without expressions all three are None. Raises InvalidInput for an
    expression without frames.
    """
    by_expression = {}
    for name, frames in expressions.items():
        if not frames:
            raise InvalidInput(f"expression {name!r} has no frames; leave it out or give its frames")
        by_expression[name] = {key: float(np.mean([getattr(frame, key) for frame in frames])) for key in VIDEO_SCORES}
    table = np.array([list(values.values()) for values in by_expression.values()]).reshape(-1, len(VIDEO_SCORES))
    sums, drawn = table.sum(axis=0, keepdims=True), resampled_sums(table)
    means = ratios(sums, np.full_like(sums, len(table)))[0]
    spreads = intervals(ratios(drawn, np.full_like(drawn, len(table))))
    return {
        **{key: float(mean) if np.isfinite(mean) else None for key, mean in zip(VIDEO_SCORES, means, strict=True)},
        "intervals_95": dict(zip(VIDEO_SCORES, spreads, strict=True)),
        "expressions": len(by_expression),
        "by_expression": by_expression,
    }

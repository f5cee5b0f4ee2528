"""How well a confidence separates right answers from wrong ones, and the risk if only confident answers are given.

Risk at a coverage is the share of wrong answers among the most confident share of all answers. Source: Geifman and
El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.5)
BINS = 10
POINTS = 51
"""Number of points of the risk curve in a summary."""


def auroc(confidences: Sequence[float], right: Sequence[bool]) -> float | None:
    """Probability that a right answer has a higher confidence than a wrong one; ties count half. None without both."""
    is_right = np.asarray(right, bool)
    wins, losses = int(is_right.sum()), int((~is_right).sum())
    if not wins or not losses:
        return None
    _, group, sizes = np.unique(np.asarray(confidences, np.float64), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]  # equal ones share the mean of their ranks
    return float((ranks[is_right].sum() - wins * (wins + 1) / 2) / (wins * losses))


def risk_curve(confidences: Sequence[float], right: Sequence[bool]) -> NDArray[np.float64]:
    """Risk when 1, 2, ... N answers are given, the most confident first. float64 [N].

    Answers of equal confidence have no order, so each counts as the mean of its group.
    """
    order = np.argsort(-np.asarray(confidences, np.float64), kind="stable")
    sorted_confidences = np.asarray(confidences, np.float64)[order]
    wrong = 1.0 - np.asarray(right, np.float64)[order]
    _, group = np.unique(-sorted_confidences, return_inverse=True)
    means = np.bincount(group, wrong) / np.maximum(np.bincount(group), 1)
    return np.cumsum(means[group]) / np.arange(1, len(wrong) + 1)


def calibration_bins(confidences: Sequence[float], right: Sequence[bool]) -> list[dict[str, float]]:
    """The reliability diagram: count, mean confidence and share of right answers of ten bins of equal width.

    Empty bins are left out.
    """
    values, is_right = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    index = np.clip((values * BINS).astype(int), 0, BINS - 1)
    return [
        {"count": len(found), "confidence": float(values[found].mean()), "right": float(is_right[found].mean())}
        for found in (np.flatnonzero(index == number) for number in range(BINS))
        if len(found)
    ]


def calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float | None:
    """Expected calibration error: mean gap between confidence and share of right answers, weighted by bin counts."""
    bins = calibration_bins(confidences, right)
    total = sum(one["count"] for one in bins)
    return sum(one["count"] * abs(one["confidence"] - one["right"]) for one in bins) / total if total else None


def selective_summary(confidences: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """All measures of this module as plain values. Without questions, only `questions`: 0."""
    if not len(confidences):
        return {"questions": 0}
    curve = risk_curve(confidences, right)
    return {
        "questions": len(confidences),
        "auroc": auroc(confidences, right),
        "risk_at_coverage": {f"{share:g}": float(curve[max(round(share * len(curve)), 1) - 1]) for share in COVERAGES},
        "risk_coverage_area": float(curve.mean()),
        "risk_curve": [
            [count / len(curve), float(curve[count - 1])]
            for count in sorted({max(round(share * len(curve)), 1) for share in np.linspace(0.0, 1.0, POINTS)})
        ],
        "calibration_error": calibration_error(confidences, right),
        "calibration_bins": calibration_bins(confidences, right),
    }

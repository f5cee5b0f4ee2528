"""Analyses failures: which part causes the loss, what repairing a type would gain, how much the thresholds matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.failures import (
    DEFAULT_THRESHOLDS,
    DESCRIPTIONS,
    FailureType,
    Measurement,
    Thresholds,
    judge,
)

SEGMENTER_LIMIT_IOU = 0.6
"""Below this IoU with the true box and point, the segmenter fails, whatever the reasoner says."""


SWEPT: dict[str, tuple[float, ...]] = {
    "ok_iou": (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    "ok_boundary_iou": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "located_box_iou": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "located_points": (0.1, 0.25, 0.5, 0.75, 1.0),
    "elsewhere_box_iou": (0.02, 0.05, 0.1, 0.2, 0.3, 0.4),
    "wrong_iou": (0.1, 0.2, 0.25, 0.3, 0.4, 0.5),
    "wrong_inside_box": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "wrong_precision_and_recall": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "box_covered": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    "leakage_precision": (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    "missing_recall": (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    "holes": (1, 2, 3, 4, 6),
    "hole_share": (0.0, 0.01, 0.02, 0.05, 0.1),
    "fragments": (2, 3, 4, 6),
    "rough_boundary_f": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "rough_iou_gap": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
}
"""Values to try for every threshold of the rules, the default among them."""


@dataclass(frozen=True)
class LossShares:
    """The loss of one sample, 1 - IoU, as the sum of the reasoner's share and the segmenter's.

    `ideal_iou` is the IoU with the true box and innermost point as prompt. The segmenter's share is the loss that
    remains with this prompt. If the actual prompt did better than the true one, all of the loss is the segmenter's.
    """

    iou: float
    ideal_iou: float

    @property
    def reasoner(self) -> float:
        return max(0.0, self.ideal_iou - self.iou)

    @property
    def segmenter(self) -> float:
        return 1.0 - max(self.iou, self.ideal_iou)

    @property
    def segmenter_limited(self) -> bool:
        return self.ideal_iou < SEGMENTER_LIMIT_IOU


def loss_shares(ious: Sequence[float], ideal_ious: Sequence[float | None]) -> dict[str, float | int | None]:
    """The mean `loss`, 1 - IoU, and the shares of `reasoner` and `segmenter`, over samples with a known ideal IoU.

    `samples` is their number. `segmenter_limited` is the number of those on which the segmenter fails even with the
    true prompt. Without samples the means are None.
    """
    known = [LossShares(iou, ideal) for iou, ideal in zip(ious, ideal_ious, strict=True) if ideal is not None]

    def mean(values: Sequence[float]) -> float | None:
        return float(np.mean(values)) if values else None

    return {
        "samples": len(known),
        "loss": mean([1 - share.iou for share in known]),
        "reasoner": mean([share.reasoner for share in known]),
        "segmenter": mean([share.segmenter for share in known]),
        "segmenter_limited": sum(share.segmenter_limited for share in known),
    }


def repair_gains(
    failures: Sequence[FailureType], ious: Sequence[float], ideal_ious: Sequence[float | None] | None = None
) -> dict[FailureType, dict[str, float | int | None]]:
    """For each type that occurs: its count, share and mean IoU, and how much gIoU would rise if it were repaired.

    `gain` assumes IoU 1 for every sample of the type. `gain_from_reasoner` assumes the true prompts instead of the
    reasoner's; it is None unless the ideal IoU of every sample of the type is known.
    """
    ideals = list(ideal_ious) if ideal_ious is not None else [None] * len(ious)
    if not len(failures) == len(ious) == len(ideals):
        raise InvalidInput(f"{len(failures)} failures, {len(ious)} IoUs, {len(ideals)} ideal IoUs; give one a sample")
    gains: dict[FailureType, dict[str, float | int | None]] = {}
    for kind in FailureType:
        members = [i for i, failure in enumerate(failures) if failure is kind]
        if not members:
            continue
        known = [(ious[i], ideal) for i in members if (ideal := ideals[i]) is not None]
        from_reasoner = sum(LossShares(iou, ideal).reasoner for iou, ideal in known) / len(ious)
        gains[kind] = {
            "samples": len(members),
            "share": len(members) / len(ious),
            "mean_iou": sum(ious[i] for i in members) / len(members),
            "gain": sum(1 - ious[i] for i in members) / len(ious),
            "gain_from_reasoner": from_reasoner if len(known) == len(members) else None,
        }
    return gains


def described(gains: Mapping[FailureType, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Values by type, ready for JSON, each with the type's description."""
    return {str(kind): {"description": DESCRIPTIONS[kind], **values} for kind, values in gains.items()}


def sweep(
    measurements: Sequence[Measurement],
    threshold: str,
    values: Sequence[float],
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> list[dict[str, Any]]:
    """The number of samples with each type and each tag, for each value of one threshold, the others unchanged.

    Raises InvalidInput for a name that is not a threshold of `judge`.
    """
    names = set(asdict(thresholds)) - {"fragment_share"}
    if threshold not in names:
        raise InvalidInput(f"threshold {threshold!r}; expected one of {', '.join(sorted(names))}")
    rows = []
    for value in values:
        change: dict[str, Any] = {threshold: value}
        changed = replace(thresholds, **change)
        judged = [judge(measured, changed) for measured in measurements]
        types = Counter(str(kind) for kind, _ in judged)
        tags = Counter(tag for _, found in judged for tag in found)
        rows.append(
            {"value": value, "types": {str(kind): types[str(kind)] for kind in FailureType}, "tags": dict(tags)}
        )
    return rows


def sweeps(measurements: Sequence[Measurement]) -> dict[str, list[dict[str, Any]]]:
    """`sweep` of every threshold in turn; nothing without measurements."""
    return {name: sweep(measurements, name, values) for name, values in SWEPT.items()} if measurements else {}

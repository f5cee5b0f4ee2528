"""Scores of a predicted mask, and summaries of many.

A `SampleScore` holds a few numbers, so a data set of any size is summarised without its masks in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.bootstrap import RESAMPLES, SEED, intervals, ratios, resampled_sums
from reasonseg_ros.evaluation.scoring.boundaries import boundary_f, boundary_iou
from reasonseg_ros.evaluation.scoring.right_target import Boxes, box_around, right_target
from reasonseg_ros.evaluation.scoring.stand_ins import from_mask
from reasonseg_ros.geometry import box_iou, mask_box
from reasonseg_ros.types import BoolMask, FloatArray, Grounding

PROTOCOLS = ("lisa", "seg_zero")
BOX_IOU_RIGHT = 0.5
NORMALISED_SIDE_PX = 1024
_LISA_EPSILON_PX = 1e-5


@dataclass(frozen=True)
class SampleScore:
    """The scores of one sample.

    Attributes:
        parsed: there was a prediction, possibly an empty one.
        target_empty, prediction_empty: after the protocol's treatment of the ignored pixels.
        normalised_intersection_px, normalised_union_px: of both masks resized to 1024 x 1024.
        box_iou: of the box around all groundings with the box around the target; 0 without groundings; None if there
            is no target, or if groundings are not known.
        points_in_target: share of the groundings' positive points on the target; None without points or target.
        right_target: the boxes mean the targets (evaluation/scoring/right_target.py). If groundings are not known, the
            box around the mask is taken.
    """

    iou: float
    intersection_px: int
    union_px: int
    normalised_intersection_px: int
    normalised_union_px: int
    boundary_iou: float
    boundary_f: float
    parsed: bool
    target_empty: bool
    prediction_empty: bool
    box_iou: float | None = None
    points_in_target: float | None = None
    right_target: bool = False


def score_sample(
    prediction: BoolMask | None,
    target: BoolMask,
    ignore: BoolMask | None = None,
    protocol: str = "lisa",
    groundings: Sequence[Grounding] | None = None,
    target_boxes_xyxy: Boxes = (),
) -> SampleScore:
    """Score bool [H, W] against bool [H, W]. Raises InvalidInput if the sizes differ or the protocol is unknown.

    `lisa` removes the ignored pixels from both masks; `seg_zero` counts them as target. A prediction of None (the
    answer could not be parsed) has IoU 0, also if there is no target, and the target's area as union. Two empty masks
    have IoU 1. `groundings` None means that only the mask is known; `()` that the reasoner pointed at nothing, or
    failed.

    Sources: the evaluation of LISA (Lai et al., CVPR 2024) and of Seg-Zero (Liu et al., 2025); normalised IoU: LLM-Seg
    (Wang and Ke, 2024).
    """
    mask = np.zeros_like(target) if prediction is None else prediction
    mask, target = without_ignored(mask, target, ignore, protocol)
    iou, intersection_px, union_px = _overlap(mask, target, protocol)
    normal_intersection_px, normal_union_px = _normalised_overlap_px(mask, target)
    parsed = prediction is not None
    target_empty = not target.any()
    boxes = [grounding.box_xyxy for grounding in (from_mask(mask) if groundings is None else groundings)]
    return SampleScore(
        iou=iou if parsed else 0.0,
        intersection_px=intersection_px,
        union_px=union_px,
        normalised_intersection_px=normal_intersection_px,
        normalised_union_px=normal_union_px,
        boundary_iou=boundary_iou(mask, target) if parsed else 0.0,
        boundary_f=boundary_f(mask, target) if parsed else 0.0,
        parsed=parsed,
        target_empty=target_empty,
        prediction_empty=not mask.any(),
        box_iou=None if target_empty or groundings is None else envelope_iou(groundings, target),
        points_in_target=None if target_empty or groundings is None else points_share(groundings, target),
        right_target=parsed and right_target(boxes, target_boxes_xyxy, target),
    )


def sample_iou(prediction: BoolMask, target: BoolMask, ignore: BoolMask, protocol: str) -> float:
    """The `iou` of `score_sample` alone. Raises InvalidInput."""
    return _overlap(*without_ignored(prediction, target, ignore, protocol), protocol)[0]


def without_ignored(
    prediction: BoolMask, target: BoolMask, ignore: BoolMask | None, protocol: str
) -> tuple[BoolMask, BoolMask]:
    """Prediction and target after the protocol's treatment of ignored pixels. Raises InvalidInput."""
    if protocol not in PROTOCOLS:
        raise InvalidInput(f"protocol {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    for name, mask in (("prediction", prediction), ("ignore mask", ignore)):
        if mask is not None and (mask.shape != target.shape or mask.ndim != 2):
            raise InvalidInput(
                f"{name} of {_size(mask)} for a target of {_size(target)}; give masks in the pixels of the target"
            )
    if ignore is None:
        return prediction, target
    return (prediction & ~ignore, target & ~ignore) if protocol == "lisa" else (prediction, target | ignore)


def envelope(groundings: Sequence[Grounding]) -> FloatArray:
    """The box around all groundings, at least one. float32 [4]."""
    return box_around([grounding.box_xyxy for grounding in groundings])


def envelope_iou(groundings: Sequence[Grounding], target: BoolMask) -> float:
    """IoU of the box around all groundings with the box around the target; 0 if either is missing."""
    box_xyxy = mask_box(target)
    return box_iou(envelope(groundings), box_xyxy) if groundings and box_xyxy is not None else 0.0


def points_share(groundings: Sequence[Grounding], target: BoolMask) -> float | None:
    """Share of the groundings' positive points that lie on the target; None without points."""
    points = [grounding.points_xy[np.asarray(grounding.point_labels) == 1] for grounding in groundings]
    points_xy = np.concatenate(points) if points else np.zeros((0, 2), np.float32)
    if not len(points_xy):
        return None
    limits = np.array(target.shape[::-1]) - 1
    inside = ((points_xy >= 0) & (points_xy < limits + 1)).all(axis=1)
    x, y = np.clip(points_xy.astype(int), 0, limits).T
    return float((target[y, x] & inside).mean())


def summarise(scores: Sequence[SampleScore], resamples: int = RESAMPLES, seed: int = SEED) -> dict[str, Any]:
    """Counts, scores, and the scores' bootstrap 95 % intervals, as plain values ready for JSON.

    A score to which no sample contributes (`n_acc` without no-target samples) is None.
    """
    names = list(_RATIOS)
    table = _columns(scores)
    means = ratios(*_halves(table.sum(axis=0, keepdims=True)))[0]
    drawn = ratios(*_halves(resampled_sums(table, resamples, seed)))
    return {
        "samples": len(scores),
        "failed": sum(not score.parsed for score in scores),
        **{name: float(mean) if np.isfinite(mean) else None for name, mean in zip(names, means, strict=True)},
        "intervals_95": dict(zip(names, intervals(drawn), strict=True)),
    }


def difference(before: Sequence[SampleScore], after: Sequence[SampleScore]) -> dict[str, dict[str, Any]]:
    """`after` minus `before` for each score, with paired 95 % intervals. Both are of the same samples in order."""
    if len(before) != len(after):
        raise InvalidInput(f"{len(before)} scores against {len(after)}; give both runs' scores of the same samples")
    tables = [_columns(scores) for scores in (before, after)]
    old, new = (ratios(*_halves(table.sum(axis=0, keepdims=True)))[0] for table in tables)
    drawn_old, drawn_new = (ratios(*_halves(resampled_sums(table))) for table in tables)
    return {
        name: {
            "before": float(old[i]),
            "after": float(new[i]),
            "difference": float(new[i] - old[i]),
            "interval_95": gap,
        }
        for i, (name, gap) in enumerate(zip(_RATIOS, intervals(drawn_new - drawn_old), strict=True))
        if np.isfinite(old[i]) and np.isfinite(new[i])
    }


_RATIOS: dict[str, Callable[[SampleScore], tuple[float, float]]] = {
    "giou": lambda s: (s.iou, 1),
    "ciou": lambda s: (s.intersection_px, s.union_px),
    "nciou": lambda s: (s.normalised_intersection_px, s.normalised_union_px),
    "n_acc": lambda s: (s.target_empty and s.prediction_empty and s.parsed, s.target_empty),
    "boundary_iou": lambda s: (s.boundary_iou, 1),
    "boundary_f": lambda s: (s.boundary_f, 1),
    "box_acc_50": lambda s: ((s.box_iou or 0.0) > BOX_IOU_RIGHT, s.box_iou is not None),
    "points_in_target": lambda s: (s.points_in_target or 0.0, s.points_in_target is not None),
    "parseable": lambda s: (s.parsed, 1),
    "right_target": lambda s: (s.right_target, 1),
}
"""For each score, what a sample adds to the numerator and to the denominator."""


def _columns(scores: Sequence[SampleScore]) -> Any:
    rows = [[value for ratio in _RATIOS.values() for value in ratio(score)] for score in scores]
    return np.array(rows, np.float64).reshape(len(scores), 2 * len(_RATIOS))


def _halves(sums: Any) -> tuple[Any, Any]:
    return sums[:, 0::2], sums[:, 1::2]


def _overlap(a: BoolMask, b: BoolMask, protocol: str) -> tuple[float, int, int]:
    """IoU by the protocol, with the pixels of intersection and union."""
    intersection_px, union_px = int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))
    epsilon_px = _LISA_EPSILON_PX if protocol == "lisa" else 0.0
    return intersection_px / (union_px + epsilon_px) if union_px else 1.0, intersection_px, union_px


def _normalised_overlap_px(a: BoolMask, b: BoolMask) -> tuple[int, int]:
    """Intersection and union of both masks after nearest-neighbour resizing to NORMALISED_SIDE_PX."""
    if not a.size:
        raise InvalidInput(f"mask of {_size(a)}; expected at least one pixel")
    return _normalised_px(a & b), _normalised_px(a | b)


def _normalised_px(mask: BoolMask) -> int:
    """Pixels of the resized mask, without resizing it: each pixel counts as often as it would be sampled."""
    box = mask_box(mask)
    if box is None:
        return 0
    x1, y1, x2, y2 = box.astype(int)
    height, width = mask.shape
    return int(_times_taken(height)[y1:y2] @ (mask[y1:y2, x1:x2] @ _times_taken(width)[x1:x2]))


@lru_cache(maxsize=16)
def _times_taken(length: int) -> NDArray[np.int32]:
    """How often nearest-neighbour resizing samples each pixel of a side of that length, int32 [length]."""
    taken = np.arange(NORMALISED_SIDE_PX) * length // NORMALISED_SIDE_PX
    return np.bincount(taken, minlength=length).astype(np.int32)


def _size(mask: BoolMask) -> str:
    return " x ".join(str(length) for length in mask.shape[::-1])

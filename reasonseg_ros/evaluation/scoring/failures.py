"""The failure type of a sample, by explicit rules.

`measure` turns masks and groundings into a few numbers. `judge` decides on these numbers alone, so thresholds can be
swept over a whole data set without its masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from reasonseg_ros.evaluation.scoring.boundaries import boundary_f, boundary_iou, near, outline_tolerance_px
from reasonseg_ros.evaluation.scoring.metrics import envelope, envelope_iou, points_share, without_ignored
from reasonseg_ros.geometry import clip_box, mask_box, mask_iou
from reasonseg_ros.images.components import labelled_fragments, labelled_holes
from reasonseg_ros.types import BoolMask, Grounding


class FailureType(str, Enum):
    """In the order of the rules: the first that applies is the type."""

    UNPARSABLE = "F0"
    FALSE_POSITIVE = "FP"
    FALSE_NEGATIVE = "FN"
    OK = "OK"
    MISREAD = "T1"
    WRONG_MASK = "T2"
    POOR_QUALITY = "T3"

    def __str__(self) -> str:
        return self.value


DESCRIPTIONS = {
    FailureType.UNPARSABLE: "no answer that can be read",
    FailureType.FALSE_POSITIVE: "a mask although nothing fits",
    FailureType.FALSE_NEGATIVE: "no mask although there is a target",
    FailureType.OK: "good mask",
    FailureType.MISREAD: "the reasoner points at something else, or at too much or too little",
    FailureType.WRONG_MASK: "right place, wrong mask",
    FailureType.POOR_QUALITY: "right object, poor mask",
}


@dataclass(frozen=True)
class Thresholds:
    """The limits between the types. Shares and IoUs are between 0 and 1."""

    ok_iou: float = 0.75
    ok_boundary_iou: float = 0.5
    located_box_iou: float = 0.5
    located_points: float = 0.5
    elsewhere_box_iou: float = 0.1
    box_covered: float = 0.5
    """For a misread box: `too broad` if it covers this share of the true box but less than this share of it lies
    inside; `partial` in the opposite case."""
    wrong_iou: float = 0.25
    wrong_inside_box: float = 0.5
    wrong_precision_and_recall: float = 0.5
    leakage_precision: float = 0.75
    missing_recall: float = 0.75
    holes: int = 3
    hole_share: float = 0.02
    fragments: int = 3
    fragment_share: float = 0.005
    """Components smaller than this share of the mask are not fragments. Used by `measure`."""
    rough_boundary_f: float = 0.6
    rough_iou_gap: float = 0.2


@dataclass(frozen=True)
class Measurement:
    """The values that the rules use.

    Attributes:
        box_iou: of the box around the groundings with the box around the target.
        box_recall, box_precision: their common area as a share of the target's box, and of the groundings' box.
        points_on_target: share of the positive points on the target or within 0.008 x diagonal of it; 0 without points.
        precision, recall: of the mask's pixels.
        inside_box: share of the mask inside any of the groundings' boxes.
        hole_share: area of the holes as a share of the filled mask.
    """

    parsed: bool
    target_empty: bool
    prediction_empty: bool
    grounded: bool
    iou: float = 0.0
    boundary_iou: float = 0.0
    boundary_f: float = 0.0
    box_iou: float = 0.0
    box_recall: float = 0.0
    box_precision: float = 0.0
    points_on_target: float = 0.0
    precision: float = 0.0
    recall: float = 0.0
    inside_box: float = 0.0
    holes: int = 0
    hole_share: float = 0.0
    fragments: int = 0


@dataclass(frozen=True)
class Failure:
    """`tags` refine the type: one of `wrong object`, `too broad`, `partial` for T1; any of `leakage`, `missing`,
    `holes`, `fragments`, `rough edge` for T3; `mask lost` for an FN although the reasoner pointed at something."""

    type: FailureType
    tags: tuple[str, ...]
    measured: Measurement


DEFAULT_THRESHOLDS = Thresholds()


def classify(
    prediction: BoolMask | None,
    target: BoolMask,
    ignore: BoolMask | None = None,
    groundings: Sequence[Grounding] = (),
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> Failure:
    """The failure type of a prediction, bool [H, W]; None stands for an answer that could not be parsed.

    Ignored pixels are removed first. For a method without boxes, pass the groundings that `stand_ins` derives from its
    mask or activation map. Raises InvalidInput if the sizes differ.
    """
    measured = measure(prediction, target, ignore, groundings, thresholds.fragment_share)
    return Failure(*judge(measured, thresholds), measured)


def measure(
    prediction: BoolMask | None,
    target: BoolMask,
    ignore: BoolMask | None = None,
    groundings: Sequence[Grounding] = (),
    fragment_share: float = DEFAULT_THRESHOLDS.fragment_share,
) -> Measurement:
    """The values that the rules need. Raises InvalidInput if the sizes differ."""
    mask = np.zeros_like(target) if prediction is None else prediction
    mask, target = without_ignored(mask, target, ignore, "lisa")
    mask_px, target_px = np.count_nonzero(mask), np.count_nonzero(target)
    known = (prediction is not None, not target_px, not mask_px, bool(groundings))
    box_xyxy = mask_box(mask)
    if not target_px or box_xyxy is None:
        outlines = boundary_f(mask, target) if known[0] else 0.0
        return Measurement(*known, iou=float(known[0] and not target_px and not mask_px), boundary_f=outlines)
    common_px = np.count_nonzero(mask & target)
    box_recall, box_precision = _box_overlap(groundings, target)
    x1, y1, x2, y2 = box_xyxy.astype(int)  # the components of the whole mask, at the cost of those of its box
    _, hole_areas = labelled_holes(mask[y1:y2, x1:x2])
    hole_px = int(hole_areas.sum())
    _, fragment_areas = labelled_fragments(mask[y1:y2, x1:x2])
    return Measurement(
        *known,
        iou=mask_iou(mask, target),
        boundary_iou=boundary_iou(mask, target),
        boundary_f=boundary_f(mask, target),
        box_iou=envelope_iou(groundings, target),
        box_recall=box_recall,
        box_precision=box_precision,
        points_on_target=points_share(groundings, near(target, outline_tolerance_px(target))) or 0.0,
        precision=float(common_px / mask_px),
        recall=float(common_px / target_px),
        inside_box=float(np.count_nonzero(mask & _inside(groundings, mask)) / mask_px),
        holes=len(hole_areas) - 1,
        hole_share=float(hole_px / (hole_px + mask_px)),
        fragments=int(np.count_nonzero(fragment_areas > fragment_share * mask_px)),
    )


def judge(measured: Measurement, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> tuple[FailureType, tuple[str, ...]]:
    """Type and tags. Every measurement has exactly one type."""
    m, limit = measured, thresholds
    if not m.parsed:
        return FailureType.UNPARSABLE, ()
    if m.target_empty:
        return (FailureType.OK if m.prediction_empty else FailureType.FALSE_POSITIVE), ()
    if m.prediction_empty:
        return FailureType.FALSE_NEGATIVE, ("mask lost",) if m.grounded else ()
    if m.iou >= limit.ok_iou and m.boundary_iou >= limit.ok_boundary_iou:
        return FailureType.OK, ()
    missed = m.box_iou < limit.located_box_iou and m.points_on_target < limit.located_points
    if missed or m.box_iou < limit.elsewhere_box_iou:
        return FailureType.MISREAD, (_misreading(m, limit),)
    low = limit.wrong_precision_and_recall
    if m.iou < limit.wrong_iou or m.inside_box < limit.wrong_inside_box or (m.precision < low and m.recall < low):
        return FailureType.WRONG_MASK, ()
    return FailureType.POOR_QUALITY, _quality_tags(m, limit)


def _misreading(m: Measurement, limit: Thresholds) -> str:
    """The tag of a misread box: even with a small IoU it may be a part of the target, or much larger than it."""
    if m.box_recall >= limit.box_covered and m.box_precision < limit.box_covered:
        return "too broad"
    if m.box_precision >= limit.box_covered and m.box_recall < limit.box_covered:
        return "partial"
    return "wrong object"


def _quality_tags(m: Measurement, limit: Thresholds) -> tuple[str, ...]:
    found = {
        "leakage": m.precision < limit.leakage_precision,
        "missing": m.recall < limit.missing_recall,
        "holes": m.holes >= limit.holes or m.hole_share > limit.hole_share,
        "fragments": m.fragments >= limit.fragments,
        "rough edge": m.boundary_f < limit.rough_boundary_f or m.iou - m.boundary_iou > limit.rough_iou_gap,
    }
    return tuple(tag for tag, applies in found.items() if applies)


def _box_overlap(groundings: Sequence[Grounding], target: BoolMask) -> tuple[float, float]:
    """Common area of the boxes around target and groundings, as a share of the first and of the second."""
    true_xyxy = mask_box(target)
    if not groundings or true_xyxy is None:
        return 0.0, 0.0
    said_xyxy = envelope(groundings)
    common = np.clip(np.minimum(said_xyxy[2:], true_xyxy[2:]) - np.maximum(said_xyxy[:2], true_xyxy[:2]), 0, None)
    areas = [(box[2:] - box[:2]).prod() for box in (true_xyxy, said_xyxy)]
    return float(common.prod() / areas[0]), float(common.prod() / areas[1])


def _inside(groundings: Sequence[Grounding], mask: BoolMask) -> BoolMask:
    """Pixels inside any box, including those that a box only touches."""
    inside = np.zeros_like(mask)
    for grounding in groundings:
        box_xyxy = clip_box(grounding.box_xyxy, (mask.shape[1], mask.shape[0]))
        if box_xyxy is not None:
            x1, y1, x2, y2 = (*np.floor(box_xyxy[:2]).astype(int), *np.ceil(box_xyxy[2:]).astype(int))
            inside[y1:y2, x1:x2] = True
    return inside

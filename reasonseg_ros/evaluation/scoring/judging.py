"""Turns an answer about a sample into its result: scores, failure type, and the counterfactual."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reasonseg_ros.evaluation.reading.clips import Clip, Sample, Truth
from reasonseg_ros.evaluation.results import SampleResult, grounding_values, region_values
from reasonseg_ros.evaluation.scoring.failures import classify
from reasonseg_ros.evaluation.scoring.metrics import sample_iou, score_sample
from reasonseg_ros.evaluation.scoring.stand_ins import from_mask
from reasonseg_ros.faults import reason
from reasonseg_ros.images.run_lengths import rle_from_mask
from reasonseg_ros.methods.port import Method
from reasonseg_ros.types import Frame, Grounding, Segmentation


@dataclass(frozen=True)
class Scoring:
    """How samples are scored. `counterfactual`: also prompt the segmenter with the truth, to attribute the loss."""

    protocol: str = "lisa"
    counterfactual: bool = True


def picture_name(clip: Clip, sample: Sample) -> str:
    """The path of a sample's picture in the folder of its run. Questions about one image share it."""
    name = "-".join(filter(None, (str(sample.stamp_ns), sample.image_digest)))
    return "/".join(filter(None, ("images", clip.bag, f"{name}.jpg")))


def judged(
    clip: Clip,
    sample: Sample,
    segmentation: Segmentation,
    method: Method | None,
    scoring: Scoring,
    encoding_s: float = 0.0,
) -> SampleResult:
    """The result of a clip's sample, scored if it has ground truth. Without `method` there is no counterfactual.

    `encoding_s` was spent on its image in advance.
    """
    answer = segmentation.answer
    seconds = {"encoding": encoding_s} if encoding_s else {}
    result = SampleResult(
        sample_id=sample.sample_id,
        question=clip.question,
        kind=sample.kind,
        split=sample.split,
        is_sentence=sample.is_sentence,
        stamp_ns=sample.stamp_ns,
        size_wh=segmentation.frame.size_wh,
        image=picture_name(clip, sample),
        status=str(answer.status),
        thought=answer.thought,
        raw_text=answer.raw_text,
        error=answer.error,
        dialect=answer.dialect,
        tokens=answer.tokens,
        groundings=[grounding_values(grounding) for grounding in answer.groundings],
        regions=[region_values(region) for region in segmentation.regions],
        mask=rle_from_mask(segmentation.mask) if answer.status.has_mask else None,
        seconds={stage: round(value, 4) for stage, value in {**seconds, **segmentation.seconds}.items()},
        expression=clip.expression,
        entropy_nats=None if answer.entropy_nats is None else round(answer.entropy_nats, 4),
        confidence=None if answer.confidence is None else round(answer.confidence, 4),
    )
    if sample.truth is None:
        return result
    result = _scored(result, segmentation, sample.truth, scoring.protocol)
    if method is None or not scoring.counterfactual or not sample.truth.mask.any():
        return result
    ideal_iou, ideal_error = _counterfactual(segmentation.frame, sample.truth, method, scoring.protocol)
    return replace(result, ideal_iou=ideal_iou, ideal_error=ideal_error)


def _counterfactual(frame: Frame, truth: Truth, method: Method, protocol: str) -> tuple[float | None, str]:
    """IoU with the true prompts; None with the reason if that failed."""
    try:
        ideal = method.prompt(frame, true_groundings(truth))
    except Exception as error:
        return None, reason(error)
    if not ideal.answer.status.has_mask:
        return None, f"{ideal.answer.status}: {ideal.answer.error}"
    return round(sample_iou(ideal.mask, truth.mask, truth.ignore, protocol), 6), ""


def not_finite(values: Any, place: str = "") -> str:
    """The path of the first number that is not finite, in dictionaries and lists; empty if all are finite."""
    if isinstance(values, float):
        return "" if math.isfinite(values) else place
    if isinstance(values, dict):
        found = (not_finite(value, f"{place}.{name}" if place else name) for name, value in values.items())
        return next(filter(None, found), "")
    if isinstance(values, list):
        if values and isinstance(values[0], int):  # run lengths
            return ""
        return next(filter(None, (not_finite(value, f"{place}[{n}]") for n, value in enumerate(values))), "")
    return ""


def _scored(result: SampleResult, segmentation: Segmentation, truth: Truth, protocol: str) -> SampleResult:
    """The result with its scores and its failure type."""
    answer = segmentation.answer
    mask = segmentation.mask if answer.status.has_mask else None
    score = score_sample(mask, truth.mask, truth.ignore, protocol, answer.groundings, truth.boxes_xyxy)
    failure = classify(mask, truth.mask, truth.ignore, answer.groundings)
    return replace(
        result,
        target=rle_from_mask(truth.mask),
        ignore=rle_from_mask(truth.ignore) if truth.ignore.any() else None,
        target_boxes_xyxy=np.round(truth.boxes_xyxy.astype(float), 2).tolist(),
        target_thought=truth.thought,
        score=score,
        failure=str(failure.type),
        failure_tags=list(failure.tags),
        measured=failure.measured,
    )


def true_groundings(truth: Truth) -> tuple[Grounding, ...]:
    """The groundings of a perfect reasoner. If boxes are not known, the box around the mask and its innermost point."""
    if len(truth.boxes_xyxy) and len(truth.points_xy) in (0, len(truth.boxes_xyxy)):
        points = truth.points_xy if len(truth.points_xy) else [()] * len(truth.boxes_xyxy)
        return tuple(Grounding(box, np.array(point)) for box, point in zip(truth.boxes_xyxy, points, strict=True))
    return from_mask(truth.mask)

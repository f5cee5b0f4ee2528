"""Answers as JSON values for an agent: bounded in size, with the status explained in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.msg import Region, Segmentation
from reasonseg_ros.plain_text import plain_text
from reasonseg_ros.stamps import header_stamp_ns
from reasonseg_ros.types import Status

MOST_REGIONS = 20
MOST_CHARACTERS = 2000
MOST_SIGHTINGS = 20
MEANINGS = {
    Status.OK: "The regions are the answer.",
    Status.NO_TARGET: "Nothing in the image fits the question. This is an answer, not a failure.",
    Status.UNSURE: "A guess below the confidence threshold. Do not act on it; ask a person, or look closer.",
    Status.UNPARSABLE: "The model's text holds no usable answer. Nothing is known; ask in other words.",
    Status.TRUNCATED: "The model's text was cut before its answer. Nothing is known; ask a shorter question.",
    Status.CONTRADICTION: "The model contradicts itself. Nothing is known; ask more precisely.",
    Status.EMPTY_MASK: "The model located a target, but its mask is empty. Its place is not known.",
    Status.TIMEOUT: "There was no answer within the time limit. Nothing is known; ask again later.",
    Status.CANCELLED: "The question was cancelled. Nothing is known.",
    Status.REFUSED: "The question was not accepted; the error says why.",
    Status.NO_FRAME: "There is no current camera image. Nothing is known about the scene.",
    Status.OUT_OF_MEMORY: "The model ran out of memory. Nothing is known; ask again.",
    Status.UNAVAILABLE: "The model cannot be reached. Nothing is known; ask again later.",
    Status.LOST: "The target was lost from view. Its place is not known; ask again.",
    Status.FAILED: "The question failed; the error says why. Nothing is known.",
}


@dataclass(frozen=True)
class RegionReport:
    """One target. Boxes are x1, y1, x2, y2 in image pixels; positions are in metres in the answer's `frame_3d`."""

    id: int
    label: str
    box_xyxy_px: list[float]
    area_px: int
    mask_score: float
    track_id: int
    track_state: str
    center_m: list[float] | None
    size_m: list[float] | None
    why_no_3d: str


@dataclass(frozen=True)
class AnswerReport:
    """One answer. `regions` describes the scene only if `is_answer` is true."""

    status: str
    meaning: str
    is_answer: bool
    confidence: float | None
    """Calibrated probability that the right targets are meant, 0 to 1; null if unknown."""
    question: str
    thought: str
    error: str
    query_id: str
    image_wh_px: list[int]
    image_stamp_s: float
    regions: list[RegionReport]
    regions_left_out: int
    alternative: list[RegionReport] | None
    """Second-best candidate of an unsure answer, to ask "this or that?". Empty: nothing fits. Null: no candidate."""
    frame_3d: str
    """Frame of all positions in metres; empty if there are none."""
    warning_3d: str
    seconds: float
    picture: str
    """`below` if a picture comes with the answer; the reason if a requested one is missing; else empty."""


@dataclass(frozen=True)
class TrackedPlace:
    """A followed target in one image, `seconds` after the first image. Box in pixels, centre in metres."""

    seconds: float
    track_id: int
    box_xyxy_px: list[float]
    center_m: list[float] | None


@dataclass(frozen=True)
class FollowReport:
    """The motion of targets: the first answer, its `sightings`, evenly sampled, and why it `ended`."""

    answer: AnswerReport
    ended: str
    images: int
    sightings: list[TrackedPlace]


def answer_report(answer: Segmentation, picture: str = "") -> AnswerReport:
    """The report of an answer. Raises InvalidInput if a mask is damaged."""
    status = Status(answer.status)
    return AnswerReport(
        status=answer.status,
        meaning=MEANINGS[status],
        is_answer=status.is_answer,
        confidence=_rounded(answer.confidence) if answer.has_confidence else None,
        question=plain_text(answer.question, MOST_CHARACTERS),
        thought=plain_text(answer.thought, MOST_CHARACTERS),
        error=plain_text(answer.error, MOST_CHARACTERS),
        query_id=answer.query_id,
        image_wh_px=[int(answer.width), int(answer.height)],
        image_stamp_s=header_stamp_ns(answer.header) / 1e9,
        regions=[_region_report(region) for region in answer.regions[:MOST_REGIONS]],
        regions_left_out=max(0, len(answer.regions) - MOST_REGIONS),
        alternative=[_region_report(region) for region in answer.alternative[:MOST_REGIONS]]
        if answer.has_alternative
        else None,
        frame_3d=answer.frame_3d,
        warning_3d=plain_text(answer.warning_3d, MOST_CHARACTERS),
        seconds=_rounded(answer.total_s),
        picture=picture,
    )


def follow_report(answers: Sequence[Segmentation], ended: str) -> FollowReport:
    """The report of the answers to a followed question, oldest first, at least one."""
    first_ns = header_stamp_ns(answers[0].header)
    seen = [answer for answer in answers if answer.regions]
    chosen = {round(index) for index in np.linspace(0, len(seen) - 1, min(len(seen), MOST_SIGHTINGS))}
    sightings = [
        TrackedPlace(_rounded((header_stamp_ns(answer.header) - first_ns) / 1e9), int(region.track_id), *_place(region))
        for answer in (seen[index] for index in sorted(chosen))
        for region in answer.regions[:MOST_REGIONS]
    ]
    images = len({header_stamp_ns(answer.header) for answer in answers})
    return FollowReport(answer_report(answers[0]), ended, images, sightings)


def _region_report(region: Region) -> RegionReport:
    box_xyxy_px, center_m = _place(region)
    size = region.box_3d.size
    return RegionReport(
        id=int(region.id),
        label=region.label,
        box_xyxy_px=box_xyxy_px,
        area_px=int(decode_mask(region.mask).sum()),
        mask_score=_rounded(region.mask_score),
        track_id=int(region.track_id),
        track_state=region.track_state,
        center_m=center_m,
        size_m=[_rounded(value) for value in (size.x, size.y, size.z)] if region.has_3d else None,
        why_no_3d=region.error_3d,
    )


def _place(region: Region) -> tuple[list[float], list[float] | None]:
    """Box in pixels, and 3D centre in metres if it is known."""
    box, center = region.box, region.box_3d.pose.position
    box_xyxy_px = [_rounded(value) for value in (box.x1, box.y1, box.x2, box.y2)]
    return box_xyxy_px, [_rounded(value) for value in (center.x, center.y, center.z)] if region.has_3d else None


def _rounded(value: float) -> float:
    return round(float(value), 4)

"""Compares two answers to the same question about the same images, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasonseg_ros.types import Answer, Grounding, Region, Segmentation


@dataclass(frozen=True)
class Tolerance:
    """The differences up to which two answers count as the same.

    Attributes:
        box_px: maximum distance of box corners and points, in pixels of the image.
        mask_iou: minimum IoU of two masks.
        confidence: maximum difference of the confidences.
        position_m: maximum distance of a target's visible surface, in metres.
        any_text: texts may differ if all other stages agree.
    """

    box_px: float = 1.0
    mask_iou: float = 0.99
    confidence: float = 0.01
    position_m: float = 0.01
    any_text: bool = False


@dataclass(frozen=True)
class ComparedStage:
    """One stage of both answers.

    Attributes:
        is_same: equal, or within the tolerance.
        difference: a description; empty if they are equal.
    """

    name: str
    is_same: bool = True
    difference: str = ""


def compared(before: Segmentation, now: Segmentation, tolerance: Tolerance) -> list[ComparedStage]:
    """The stages in order: text, status, confidence, image (of several), boxes, masks, positions.

    Positions are compared if both have surfaces (`space.points.located`).
    """
    old, new = before.answer, now.answer
    return [
        _text(old, new, tolerance),
        _status(old, new),
        _confidence(old, new, tolerance),
        _image(before, now),
        _boxes(old.groundings, new.groundings, tolerance),
        _masks(before.regions, now.regions, tolerance),
        _positions(before.regions, now.regions, tolerance),
    ]


def _text(old: Answer, new: Answer, tolerance: Tolerance) -> ComparedStage:
    if old.raw_text == new.raw_text:
        return ComparedStage("text")
    shorter = min(len(old.raw_text), len(new.raw_text))
    pairs = zip(old.raw_text, new.raw_text, strict=False)
    place = next((index for index, (a, b) in enumerate(pairs) if a != b), shorter)
    was, is_now = old.raw_text[place : place + 40], new.raw_text[place : place + 40]
    return ComparedStage("text", tolerance.any_text, f"text from character {place} on: {was!r} -> {is_now!r}")


def _status(old: Answer, new: Answer) -> ComparedStage:
    if old.status is new.status:
        return ComparedStage("status")
    why = f" ({new.error})" if new.error else ""
    return ComparedStage("status", False, f"status {old.status} -> {new.status}{why}")


def _confidence(old: Answer, new: Answer, tolerance: Tolerance) -> ComparedStage:
    a, b = old.confidence, new.confidence
    if a == b:
        return ComparedStage("confidence")
    if a is None or b is None:
        return ComparedStage("confidence", False, f"confidence {a} -> {b}")
    return ComparedStage("confidence", abs(a - b) <= tolerance.confidence, f"confidence {a:.4f} -> {b:.4f}")


def _image(before: Segmentation, now: Segmentation) -> ComparedStage:
    old_ns, new_ns = before.frame.stamp_ns, now.frame.stamp_ns
    return (
        ComparedStage("image")
        if old_ns == new_ns
        else ComparedStage("image", False, f"image of stamp {old_ns} ns -> {new_ns} ns")
    )


def _boxes(old: Sequence[Grounding], new: Sequence[Grounding], tolerance: Tolerance) -> ComparedStage:
    if len(old) != len(new):
        return ComparedStage("boxes", False, f"targets {len(old)} -> {len(new)}")
    largest_px = 0.0
    for number, (a, b) in enumerate(zip(old, new, strict=True), 1):
        labels = [np.asarray(one.point_labels).tolist() for one in (a, b)]
        if (a.label, a.has_box, labels[0]) != (b.label, b.has_box, labels[1]):
            return ComparedStage(
                "boxes", False, f"target {number}: name, kind or points differ ({a.label!r} -> {b.label!r})"
            )
        pairs = ((a.box_xyxy, b.box_xyxy), (a.points_xy, b.points_xy))
        largest_px = max(largest_px, *(float(np.abs(x - y).max(initial=0.0)) for x, y in pairs))
    difference = f"boxes and points by up to {largest_px:.3g} px" if largest_px else ""
    return ComparedStage("boxes", largest_px <= tolerance.box_px, difference)


def _masks(old: Sequence[Region], new: Sequence[Region], tolerance: Tolerance) -> ComparedStage:
    if len(old) != len(new):
        return ComparedStage("masks", False, f"masks {len(old)} -> {len(new)}")
    ious = [_iou(a, b) for a, b in zip(old, new, strict=True)]
    lowest = min(ious, default=1.0)
    return ComparedStage(
        "masks", lowest >= tolerance.mask_iou, f"masks with an IoU of {lowest:.4f}" if lowest < 1 else ""
    )


def _positions(old: Sequence[Region], new: Sequence[Region], tolerance: Tolerance) -> ComparedStage:
    """Positions of the targets in both answers. A different number of targets is reported with the masks."""
    largest_m, problems = 0.0, []
    for number, (a, b) in enumerate(zip(old, new, strict=False), 1):
        if a.surface is None or b.surface is None:
            continue
        if a.surface.box is not None and b.surface.box is not None:
            largest_m = max(largest_m, float(np.linalg.norm(a.surface.centroid_m - b.surface.centroid_m)))
        elif a.surface.error != b.surface.error:
            was, is_now = a.surface.error or "a position", b.surface.error or "a position"
            problems.append(f"position of target {number}: {was} -> {is_now}")
    if problems:
        return ComparedStage("positions", False, ", ".join(problems))
    difference = f"positions by up to {largest_m:.3g} m" if largest_m else ""
    return ComparedStage("positions", largest_m <= tolerance.position_m, difference)


def _iou(a: Region, b: Region) -> float:
    if a.mask.shape != b.mask.shape:
        return 0.0
    union = np.count_nonzero(a.mask | b.mask)
    return float(np.count_nonzero(a.mask & b.mask) / union) if union else 1.0

"""From a raw mask to a region: holes and fragments counted and cleaned up, agreement with the grounding measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.geometry import box_iou, clip_points, mask_box
from reasonseg_ros.images.components import labelled_fragments, labelled_holes
from reasonseg_ros.segmenter.port import ScoredMask, Track
from reasonseg_ros.types import BoolMask, Grounding, Region, Segmentation, Status

MOST_NAMED = 5
"""Maximum number of empty targets that an answer's `error` names; further ones are counted."""


@dataclass(frozen=True, eq=False)
class CleanMask:
    """`mask` after clean-up; `holes` and `fragments` counted before it."""

    mask: BoolMask
    holes: int
    fragments: int


def clean_mask(raw: BoolMask, fill_holes_share: float, remove_specks_share: float) -> CleanMask:
    """Fill small holes, then remove small fragments, of bool [H, W]; shares are of the raw mask's area.

    Fragments are connected over sides and corners, holes over sides only. Background that reaches the image's border is
    not a hole. The largest fragment is always kept.
    """
    box = mask_box(raw)
    if box is None:
        return CleanMask(raw.copy(), 0, 0)
    x1, y1, x2, y2 = box.astype(int)
    crop = raw[y1:y2, x1:x2]
    area_px = int(crop.sum())

    hole_ids, hole_areas = labelled_holes(crop)
    small = hole_areas <= fill_holes_share * area_px
    small[0] = False
    _, raw_areas = labelled_fragments(crop)
    fragment_ids, areas = labelled_fragments(crop | small[hole_ids])
    kept = areas > remove_specks_share * area_px
    kept[areas.argmax()] = True
    kept[0] = False
    mask = np.zeros_like(raw)
    mask[y1:y2, x1:x2] = kept[fragment_ids]
    return CleanMask(mask, len(hole_areas) - 1, len(raw_areas) - 1)


def build_region(grounding: Grounding, scored: ScoredMask, config: SegmenterConfig) -> Region:
    """The region of one grounding.

    An empty mask keeps the grounding's box, agrees with nothing (`box_iou` 0) and covers none of the points. Any other
    mask agrees with a grounding that has no box (`box_iou` 1).
    """
    clean = clean_mask(scored.mask, config.fill_holes_share, config.remove_specks_share)
    box_xyxy = mask_box(clean.mask)
    return Region(
        mask=clean.mask,
        box_xyxy=grounding.box_xyxy if box_xyxy is None else box_xyxy,
        grounding=grounding,
        mask_score=scored.score,
        box_iou=box_agreement(clean.mask, grounding),
        points_inside=points_inside(clean.mask, grounding),
        holes=clean.holes,
        fragments=clean.fragments,
        raw_mask=scored.mask if config.keep_raw_mask else None,
    )


def box_agreement(mask: BoolMask, grounding: Grounding) -> float:
    """IoU of the mask's tight box with the grounding's; 0 for an empty mask, 1 without a box to agree with."""
    box_xyxy = mask_box(mask)
    if box_xyxy is None:
        return 0.0
    return box_iou(box_xyxy, grounding.box_xyxy) if grounding.has_box else 1.0


def points_inside(mask: BoolMask, grounding: Grounding) -> float:
    """Share of the grounding's positive points that the mask covers; 1 without such points."""
    positive_xy = grounding.points_xy[np.asarray(grounding.point_labels) == 1]
    if not len(positive_xy):
        return 1.0
    columns, rows = clip_points(positive_xy, (mask.shape[1], mask.shape[0])).astype(int).T
    return float(mask[rows, columns].mean())


def tracked(region: Region, track: Track) -> Region:
    """`region` at its target's position in another frame. Its agreement with the grounding is unchanged."""
    box_xyxy = mask_box(track.mask)
    return replace(
        region,
        mask=track.mask,
        box_xyxy=region.box_xyxy if box_xyxy is None else box_xyxy,
        mask_score=track.score,
        raw_mask=None,
        track_id=track.track_id,
        track_state=track.state,
    )


def without_empty(segmentation: Segmentation) -> Segmentation:
    """The segmentation without the regions that mark no pixel; the answer's `error` names them.

    Its status becomes EMPTY_MASK if no region is left. A segmentation without groundings is unchanged.
    """
    if not segmentation.status.has_regions or not segmentation.answer.groundings:
        return segmentation
    kept = tuple(region for region in segmentation.regions if region.mask.any())
    if kept and len(kept) == len(segmentation.regions):
        return segmentation
    left_out = [
        _why_left_out(number, region)
        for number, region in enumerate(segmentation.regions, start=1)
        if not region.mask.any()
    ]
    more = len(left_out) - MOST_NAMED
    notes = [*filter(None, [segmentation.answer.error]), *left_out[:MOST_NAMED]]
    if more > 0:
        notes.append(f"and {more} more")
    if not kept:
        notes.insert(0, "no pixel of any target is marked")
    status = segmentation.status if kept else Status.EMPTY_MASK
    answer = replace(segmentation.answer, status=status, error="; ".join(notes))
    return replace(segmentation, answer=answer, regions=kept)


def _why_left_out(number: int, region: Region) -> str:
    label = f" ({region.label[:40]})" if region.label else ""
    if region.track_id:
        return f"target {number}{label}, track {region.track_id}, is {region.track_state}"
    return f"target {number}{label} is left out, as its mask is empty"

"""Refines masks in a little time: stray parts are removed by prompts, outlines are moved to image edges.

`regions` removes holes and specks of every mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.geometry import clip_points, innermost_xy, mask_box, resize_logits
from reasonseg_ros.segmenter.port import Features, LowResMasks, ScoredMask, Segmenter, Track, Tracker
from reasonseg_ros.segmenter.regions import box_agreement, points_inside
from reasonseg_ros.segmenter.track_states import unseen
from reasonseg_ros.types import BoolMask, FloatArray, Grounding, RgbImage

BOX_MARGIN_SHARE = 0.1
"""Tolerance outside the box, as a share of its sides, because boxes are not exact; parts beyond it are stray."""
STRAY_SHARE = 0.02
"""Minimum stray part, as a share of the mask's area; the clean-up removes smaller ones."""
MAX_NEGATIVE_POINTS = 3
REACH_OF_DIAGONAL = 0.0075
REACH_OF_SIZE = 0.08
"""How far an outline may move, as a share of the image's diagonal and of the square root of the mask's area, whichever
is less. With a wider band, thin and small objects would be lost to the background.
"""
WORKING_DIAGONAL_PX = 800
"""Larger images are scaled down to this for moving outlines, because a graph cut is slow with many pixels."""
COLOUR_SAMPLES = 1000
"""Maximum number of pixels of an object, and of its surroundings, that their colours are learnt from. All of them take
twice the time of the graph cut, and the outlines get no better.
"""

Decode = Callable[[Sequence[Grounding]], list[ScoredMask]]
RefinementStep = Callable[[RgbImage, Sequence[Grounding], list[ScoredMask], Decode], list[ScoredMask]]


class RefinedSegmenter:
    """Wraps any segmenter: its masks go through `steps`, names of `STEPS`, in the order of that table."""

    def __init__(self, segmenter: Segmenter, steps: Sequence[str]) -> None:
        self.name = segmenter.name
        self.needs_boxes = segmenter.needs_boxes
        self._segmenter = segmenter
        self._steps = [step for name, step in STEPS.items() if name in steps]

    def encode(self, rgb: RgbImage) -> Features:
        features = self._segmenter.encode(rgb)
        return Features((rgb, features), features.size_wh)

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        rgb, inner = features.data

        def decode(prompts: Sequence[Grounding]) -> list[ScoredMask]:
            return self._segmenter.decode(inner, prompts)

        masks = decode(groundings)
        for step in self._steps:
            masks = step(rgb, groundings, masks, decode)
        return masks

    def decode_low_res(self, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        return self._segmenter.decode_low_res(features.data[1], groundings)

    def decode_points(self, features: Features, points_xy: FloatArray) -> LowResMasks:
        return self._segmenter.decode_points(features.data[1], points_xy)

    def feature_map(self, features: Features) -> FloatArray:
        return self._segmenter.feature_map(features.data[1])


class RefinedTracker:
    """Wraps a tracker over the features of a `RefinedSegmenter`: every mask is snapped to the image's edges.

    `may_overlap` says at each step whether masks may overlap.
    """

    def __init__(self, tracker: Tracker, may_overlap: Callable[[], bool]) -> None:
        self._tracker = tracker
        self._may_overlap = may_overlap

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        if masks is not None:  # already finished, so not refined again
            return self._tracker.add(features, groundings, stamp_ns, masks)
        return self._snapped(features, self._tracker.add(features, groundings, stamp_ns))

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        return self._snapped(features, self._tracker.step(features, stamp_ns))

    def remove(self, track_ids: Sequence[int]) -> None:
        self._tracker.remove(track_ids)

    def reset(self) -> None:
        self._tracker.reset()

    def _snapped(self, features: Features, tracks: Sequence[Track]) -> list[Track]:
        rgb, _ = features.data
        snapped: list[Track] = []
        taken = np.zeros(rgb.shape[:2], bool)
        overlap = self._may_overlap()
        for track in tracks:
            mask = snap_to_edges(rgb, track.mask)
            if not overlap:
                mask = mask & ~taken
                taken |= mask
            track = replace(track, mask=mask)
            snapped.append(track if mask.any() else unseen(track))
        return snapped


def unrefined(features: Features) -> Features:
    """The features of the segmenter inside a `RefinedSegmenter`; other features unchanged."""
    if not isinstance(features.data, tuple):
        return features
    inner: Features = features.data[1]
    return inner


def prompt_again(
    rgb: RgbImage, groundings: Sequence[Grounding], masks: list[ScoredMask], decode: Decode
) -> list[ScoredMask]:
    """Decode again with negative points on stray parts, and keep the better mask of each grounding.

    The better mask has the higher product of predicted IoU, agreement with the grounding's box, and share of its points
    inside.
    """
    prompts = {
        index: replace(
            grounding,
            points_xy=np.concatenate([grounding.points_xy, negative_xy]),
            point_labels=np.concatenate([np.asarray(grounding.point_labels), np.zeros(len(negative_xy), np.int32)]),
        )
        for index, (grounding, scored) in enumerate(zip(groundings, masks, strict=True))
        if len(negative_xy := negative_points(scored.mask, grounding))
    }
    if not prompts:
        return masks
    better = list(masks)
    for index, again in zip(prompts, decode(list(prompts.values())), strict=True):
        if _worth(again, groundings[index]) > _worth(masks[index], groundings[index]):
            better[index] = again
    return better


def negative_points(mask: BoolMask, grounding: Grounding) -> FloatArray:
    """The innermost pixel of each large stray part of bool [H, W], largest part first. float32 [N, 2], N up to 3.

    Stray parts lie outside the grounding's box. Without a box every fragment without a positive point is stray.
    """
    stray = mask.copy()
    positive_xy = grounding.points_xy[np.asarray(grounding.point_labels) == 1]
    if grounding.has_box:
        margin = np.tile((grounding.box_xyxy[2:] - grounding.box_xyxy[:2]) * BOX_MARGIN_SHARE, 2)
        limits = (grounding.box_xyxy + margin * [-1, -1, 1, 1]).round().astype(int)
        x1, y1, x2, y2 = np.clip(limits, 0, None)
        stray[y1:y2, x1:x2] = False
    elif not len(positive_xy):
        return np.zeros((0, 2), np.float32)
    _, part_ids, stats, _ = cv2.connectedComponentsWithStats(stray.astype(np.uint8), connectivity=8)
    areas_px = stats[:, cv2.CC_STAT_AREA].copy()
    columns, rows = clip_points(positive_xy, (mask.shape[1], mask.shape[0])).astype(int).T
    areas_px[[0, *part_ids[rows, columns]]] = 0
    largest = np.argsort(-areas_px, kind="stable")[:MAX_NEGATIVE_POINTS]
    large = [part for part in largest if areas_px[part] > STRAY_SHARE * np.count_nonzero(mask)]
    return np.array([innermost_xy(part_ids == part) for part in large], np.float32).reshape(-1, 2)


def _worth(scored: ScoredMask, grounding: Grounding) -> float:
    return scored.score * box_agreement(scored.mask, grounding) * points_inside(scored.mask, grounding)


def move_outlines(
    rgb: RgbImage, groundings: Sequence[Grounding], masks: list[ScoredMask], decode: Decode
) -> list[ScoredMask]:
    """Every mask snapped to the image's edges; the predicted IoU stays as it was."""
    return [replace(scored, mask=snap_to_edges(rgb, scored.mask)) for scored in masks]


def snap_to_edges(rgb: RgbImage, mask: BoolMask) -> BoolMask:
    """Bool [H, W] with its outline on edges of uint8 [H, W, 3], changed only in a narrow band around the old one.

    The band is segmented by colour and contrast with one graph cut of GrabCut (Rother et al., SIGGRAPH 2004). The
    colours of object and background come from the mask and its surroundings. A mask too thin to have pixels outside the
    band is not changed.
    """
    box_xyxy = mask_box(mask)
    if box_xyxy is None:
        return mask
    diagonal_px = float(np.hypot(*mask.shape))
    reach_px = min(REACH_OF_DIAGONAL * diagonal_px, REACH_OF_SIZE * float(np.sqrt(np.count_nonzero(mask))))
    x1, y1 = np.clip(box_xyxy[:2] - 3 * reach_px - 4, 0, None).astype(int)
    x2, y2 = np.ceil(box_xyxy[2:] + 3 * reach_px + 4).astype(int)
    old = mask[y1:y2, x1:x2]

    scale = min(1.0, WORKING_DIAGONAL_PX / diagonal_px)
    small_wh = max(1, round(old.shape[1] * scale)), max(1, round(old.shape[0] * scale))
    small_rgb = cv2.resize(rgb[y1:y2, x1:x2], small_wh, interpolation=cv2.INTER_AREA)
    small = cv2.resize(old.astype(np.uint8), small_wh, interpolation=cv2.INTER_NEAREST)
    width_px = 2 * max(1, round(reach_px * scale)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width_px, width_px))
    inner, outer = cv2.erode(small, disc), cv2.dilate(small, disc)
    if not inner.any() or outer.all():
        return mask

    band = outer - inner
    labels = small + 2 * band  # GC_BGD and GC_FGD outside the band, GC_PR_BGD and GC_PR_FGD in it
    near = _around(outer)  # every pixel costs time, and from one beyond the band on nothing can change
    cut = labels[near].copy()
    cv2.grabCut(small_rgb[near], cut, None, *_colour_models(small_rgb, small), 1, cv2.GC_EVAL_FREEZE_MODEL)
    small[near] = cut & 1  # GC_FGD and GC_PR_FGD
    old_wh = old.shape[1], old.shape[0]
    changed = cv2.resize(band, old_wh, interpolation=cv2.INTER_NEAREST).astype(bool)
    snapped: BoolMask = mask.copy()
    snapped[y1:y2, x1:x2] = np.where(changed, resize_logits(small.astype(np.float32) - 0.5, old_wh), old)
    return snapped


def _around(mask: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns of a mask's box and of one pixel around it."""
    x, y, width, height = cv2.boundingRect(mask)
    return slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)


def _colour_models(rgb: RgbImage, mask: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """GrabCut's mixtures of Gaussians for the pixels outside and inside a mask, each float64 [1, 65].

    They are learnt from COLOUR_SAMPLES evenly spread pixels of each side.
    """
    sides = [rgb[mask == side] for side in (cv2.GC_BGD, cv2.GC_FGD)]
    samples = [pixels[:: -(-len(pixels) // COLOUR_SAMPLES)] for pixels in sides]
    labels = np.repeat(np.array([[cv2.GC_BGD, cv2.GC_FGD]], np.uint8), [len(pixels) for pixels in samples], axis=1)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # the clustering of colours starts randomly
    cv2.grabCut(np.concatenate(samples)[None], labels, None, background, foreground, 0, cv2.GC_INIT_WITH_MASK)
    return background, foreground


STEPS: dict[str, RefinementStep] = {"points": prompt_again, "edges": move_outlines}

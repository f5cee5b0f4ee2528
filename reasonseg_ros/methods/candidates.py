"""Candidate masks of a question: their sources, and which of them are equal. Pure functions.

Local maxima and components of the attention become prompts. Source: Gao et al., "Reason Twice: Segmentation via
Candidate Discovery and Comparative Reasoning", 2026, arXiv:2606.09303. Only the paper's summary was available. The
thresholds are this project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.geometry import box_iou, mask_iou, scale_xy
from reasonseg_ros.types import Answer, BoolMask, FloatArray, Grounding, Region

MOST = 8
"""Maximum number of compared candidates."""
SAME_MASK_IOU = 0.8
SAME_BOX_IOU = 0.8
PEAK = 0.8
"""Minimum height of a local maximum; the map ranges from 0 to 1."""
SHOULDER = 0.5
"""The box of a peak encloses the connected pixels of at least this height."""
MOST_PEAKS, MOST_COMPONENTS = 4, 3
DIRECT, SAMPLE, ATTENTION = "direct", "sample", "attention"
_CELLS = 8
"""The map is enlarged by this factor, so that boxes are finer than an image token."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One possible answer.

    Attributes:
        answer: with its groundings; without any it means that nothing fits.
        source: DIRECT, SAMPLE or ATTENTION: the first that found it.
        votes: number of sampled answers that agree.
        regions: one per grounding.
        mask: union of the regions, bool [H, W].
    """

    answer: Answer
    source: str
    votes: int
    regions: tuple[Region, ...]
    mask: BoolMask


def attention_boxes(attention: FloatArray, size_wh: tuple[int, int]) -> list[Grounding]:
    """Prompts from an answer's attention: peaks with the box around each, then Otsu components as boxes.

    `attention` is float32 [rows, columns] over an image of `size_wh`. A flat map has neither.
    """
    height = _enlarged(attention)
    if height is None:
        return []
    map_wh = height.shape[1], height.shape[0]
    found = []
    for x, y in _peaks(height):
        around = _component_at(height >= SHOULDER, x, y)
        point = scale_xy([x + 0.5, y + 0.5], map_wh, size_wh)
        found.append(Grounding(scale_xy(around, map_wh, size_wh), point[None]))
    levels = (height * 255).astype(np.uint8)
    _, above = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    _, _, stats, _ = cv2.connectedComponentsWithStats(above)
    largest = sorted(stats[1:], key=lambda row: -row[cv2.CC_STAT_AREA])[:MOST_COMPONENTS]
    found += [Grounding(scale_xy(_box(row), map_wh, size_wh)) for row in largest]
    return found


def _enlarged(attention: FloatArray) -> FloatArray | None:
    """Smoothed and scaled to 0 to 1; None for a constant map."""
    rows, columns = attention.shape
    smooth = cv2.GaussianBlur(attention.astype(np.float32), (3, 3), 0.6)
    height = cv2.resize(smooth, (columns * _CELLS, rows * _CELLS), interpolation=cv2.INTER_CUBIC)
    low, high = float(height.min()), float(height.max())
    if not high - low > 1e-6 * max(abs(high), 1e-30):
        return None
    normalised: FloatArray = (height - low) / (high - low)
    return normalised


def _peaks(height: FloatArray) -> list[tuple[int, int]]:
    """Positions of the local maxima of at least PEAK, the highest first; a plateau counts once."""
    around = cv2.dilate(height, np.ones((_CELLS + 1, _CELLS + 1), np.uint8))
    tops = ((height >= around - 1e-6) & (height >= PEAK)).astype(np.uint8)
    count, ids = cv2.connectedComponents(tops)
    places = []
    for number in range(1, count):
        rows, columns = np.nonzero(ids == number)
        middle = len(rows) // 2
        places.append((int(columns[middle]), int(rows[middle])))
    return sorted(places, key=lambda xy: -height[xy[1], xy[0]])[:MOST_PEAKS]


def _component_at(mask: NDArray[np.bool_], x: int, y: int) -> FloatArray:
    """Box of the part of a mask that covers a pixel of it, x1, y1, x2, y2."""
    _, ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return _box(stats[ids[y, x]])


def _box(stats: NDArray[np.int32]) -> FloatArray:
    x, y, width, height = (int(value) for value in stats[:4])
    return np.array([x, y, x + width, y + height], np.float32)


def union(regions: Sequence[Region], size_wh: tuple[int, int]) -> BoolMask:
    """Union of their masks, bool [H, W]."""
    mask = np.zeros((size_wh[1], size_wh[0]), bool)
    for region in regions:
        mask |= region.mask
    return mask


def means_the_same(one: Sequence[Grounding], other: Sequence[Grounding]) -> bool:
    """Whether two answers have equally many boxes, which overlap in pairs."""
    if len(one) != len(other):
        return False
    left = list(other)
    for grounding in one:
        match = next((x for x in left if box_iou(x.box_xyxy, grounding.box_xyxy) >= SAME_BOX_IOU), None)
        if match is None:
            return False
        left.remove(match)
    return True


def counted(direct: Answer | None, samples: Sequence[Answer]) -> list[tuple[Answer, str, int]]:
    """The distinct answers with their sources and votes: the direct one first, then by votes.

    Among sampled answers that agree, the likeliest represents all. Failures are left out.
    """
    found: list[tuple[Answer, str, int]] = [(direct, DIRECT, 0)] if direct is not None else []
    for sample in samples:
        if not sample.status.is_answer:
            continue
        for index, (answer, source, votes) in enumerate(found):
            if means_the_same(answer.groundings, sample.groundings):
                kept = sample if source == SAMPLE and _likelier(sample, answer) else answer
                found[index] = kept, source, votes + 1
                break
        else:
            found.append((sample, SAMPLE, 1))
    return sorted(found, key=lambda entry: (entry[1] != DIRECT, -entry[2]))


def _likelier(one: Answer, other: Answer) -> bool:
    return one.log_likelihood_nats is not None and (
        other.log_likelihood_nats is None or one.log_likelihood_nats > other.log_likelihood_nats
    )


def distinct(candidates: Sequence[Candidate], most: int = MOST) -> list[Candidate]:
    """At most `most` candidates whose masks differ; the first of equal ones is kept, with the votes of all.

    "Nothing fits" equals only "nothing fits". A candidate whose masks are all empty is left out.
    """
    kept: list[Candidate] = []
    for candidate in candidates:
        if candidate.regions and not candidate.mask.any():
            continue
        for index, known in enumerate(kept):
            if bool(known.regions) == bool(candidate.regions) and mask_iou(known.mask, candidate.mask) > SAME_MASK_IOU:
                kept[index] = replace(known, votes=known.votes + candidate.votes)
                break
        else:
            kept.append(candidate)
    return kept[:most]

"""Everything mode: masks of all that can be seen in an image, from a grid of single points.

Source: Kirillov et al., "Segment Anything", 2023, section "Fully automatic mask generation": every point of a grid is a
prompt; masks with a low predicted IoU or an
unstable outline are dropped, and of nearly equal masks the best one is kept.

Two things differ: only the decoder's best mask of a point is used, and masks are compared at the decoder's resolution
instead of their boxes. A checkpoint that needs boxes is prompted in two steps: its graph for points finds each object
roughly, and its decoder segments it again from the box of the largest part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.geometry import mask_box, resize_logits, scale_xy
from reasonseg_ros.segmenter.port import Features, ScoredMask, Segmenter
from reasonseg_ros.types import BoolMask, FloatArray, Grounding

OnPoints = Callable[[int, int], None]
"""Called with the number of points done and the total. An exception from it ends the run."""

AT_ONCE = 64
"""Points per call of the decoder, and between two reports of progress."""
MOST_POINTS = 16384
OUTSIDE = -20.0
"""Logit of pixels outside a mask's largest part."""


@dataclass(frozen=True)
class EverythingOptions:
    """How proposals are made and filtered; the defaults are SAM's. Shares are of the image's area.

    Attributes:
        grid_wh: points across and down.
        min_score: minimum predicted IoU.
        min_stability: minimum stability, see `stability_scores`.
        stability_offset: how far the threshold of the logits is moved to measure it.
        max_overlap: of two masks with a greater IoU the better one is kept.
        min_share, max_share: smaller and larger masks are dropped.
        most: maximum number of masks; the largest are kept.
        from_boxes: the decoder segments every mask again from the box of its largest part.
    """

    grid_wh: tuple[int, int] = (32, 32)
    min_score: float = 0.88
    min_stability: float = 0.95
    stability_offset: float = 1.0
    max_overlap: float = 0.7
    min_share: float = 0.0
    max_share: float = 1.0
    most: int = 50
    from_boxes: bool = False

    def __post_init__(self) -> None:
        if min(self.grid_wh) < 1 or self.grid_wh[0] * self.grid_wh[1] > MOST_POINTS:
            raise InvalidInput(
                f"grid of {self.grid_wh[0]}x{self.grid_wh[1]} points; expected 1 to {MOST_POINTS} points, as in 32x32"
            )


SAM = EverythingOptions()
FROM_BOXES = EverythingOptions(
    grid_wh=(14, 10), min_score=0.15, min_stability=0.0, min_share=0.0005, max_share=0.37, most=32, from_boxes=True
)
"""Options for a checkpoint that needs boxes; its graph for points predicts an IoU near 0 on background."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Masks of everything, the largest first.

    Attributes:
        logits: float32 [K, h, w] over the whole image, squashed.
        scores: predicted IoU, float32 [K].
        stabilities: float32 [K], 0 to 1.
        points_xy: the point that found each, float32 [K, 2] in the source image's pixels.
        size_wh: of the source image.
    """

    logits: FloatArray
    scores: FloatArray
    stabilities: FloatArray
    points_xy: FloatArray
    size_wh: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def low_res(self) -> BoolMask:
        """bool [K, h, w]."""
        masks: BoolMask = self.logits > 0
        return masks

    def mask(self, index: int) -> BoolMask:
        """bool [H, W] of the source image."""
        return resize_logits(self.logits[index], self.size_wh)

    def box_xyxy(self, index: int) -> FloatArray:
        """Tight box of a mask in the source image's pixels, float32 [4]."""
        height, width = self.logits.shape[1:]
        box = mask_box(self.logits[index] > 0)
        assert box is not None  # empty masks are no proposals
        return scale_xy(box, (width, height), self.size_wh)

    def chosen(self, rows: NDArray[np.int64]) -> Proposals:
        """The proposals of these indices, in this order."""
        return Proposals(
            self.logits[rows], self.scores[rows], self.stabilities[rows], self.points_xy[rows], self.size_wh
        )


class Everything:
    """Proposes masks over any segmenter. Not thread-safe if the segmenter is not."""

    def __init__(
        self,
        segmenter: Segmenter,
        options: EverythingOptions | None = None,
        grid_wh: tuple[int, int] | None = None,
    ) -> None:
        """Without options: SAM's, or those for a checkpoint that needs boxes. `grid_wh` replaces their grid."""
        self.segmenter = segmenter
        options = options or (FROM_BOXES if segmenter.needs_boxes else SAM)
        self.options = replace(options, grid_wh=grid_wh) if grid_wh else options

    def propose(self, features: Features, on_points: OnPoints = lambda asked, of: None) -> Proposals:
        """Masks of everything in an encoded image.

        Raises ModelError if the checkpoint does not support points, and OutOfMemory.
        """
        found = self._from_points(features, point_grid(self.options.grid_wh, features.size_wh), on_points)
        found = self._suppressed(found)
        if self.options.from_boxes and len(found):
            found = self._suppressed(self._drawn_again(features, found))
        return found.chosen(largest_first(found.low_res, self.options.most))

    def full_masks(self, features: Features, proposals: Proposals, rows: NDArray[np.int64]) -> list[ScoredMask]:
        """Masks of some proposals, int [n], in the source image's pixels.

        A checkpoint that needs boxes segments them from the proposals' boxes, with its usual refinement.
        """
        if self.options.from_boxes:
            return self.segmenter.decode(features, [Grounding(proposals.box_xyxy(index)) for index in rows])
        return [ScoredMask(proposals.mask(index), float(proposals.scores[index])) for index in rows]

    def _from_points(self, features: Features, points_xy: FloatArray, on_points: OnPoints) -> Proposals:
        parts = []
        on_points(0, len(points_xy))
        for start in range(0, len(points_xy), AT_ONCE):
            some_xy = points_xy[start : start + AT_ONCE]
            drawn = self.segmenter.decode_points(features, some_xy)
            # Suppress duplicates in each batch first: hundreds of masks of the same objects would fill the memory.
            parts.append(self._suppressed(self._filtered(drawn.logits, drawn.scores, some_xy, features.size_wh)))
            on_points(start + len(some_xy), len(points_xy))
        return Proposals(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.stabilities for part in parts]),
            np.concatenate([part.points_xy for part in parts]),
            features.size_wh,
        )

    def _suppressed(self, found: Proposals) -> Proposals:
        return found.chosen(suppressed(found.low_res, found.scores * found.stabilities, self.options.max_overlap))

    def _drawn_again(self, features: Features, rough: Proposals) -> Proposals:
        boxes = [Grounding(rough.box_xyxy(index)) for index in range(len(rough))]
        drawn = self.segmenter.decode_low_res(features, boxes)
        return self._filtered(drawn.logits, drawn.scores, rough.points_xy, rough.size_wh)

    def _filtered(
        self, logits: FloatArray, scores: FloatArray, points_xy: FloatArray, size_wh: tuple[int, int]
    ) -> Proposals:
        """The masks that are good enough; only the largest part of each if it is segmented again from its box."""
        options = self.options
        stabilities = stability_scores(logits, options.stability_offset)
        good = np.flatnonzero((scores > options.min_score) & (stabilities >= options.min_stability))
        logits = largest_parts(logits[good]) if options.from_boxes else logits[good]
        found = Proposals(logits, scores[good], stabilities[good], points_xy[good], size_wh)
        shares = found.low_res.mean((1, 2))
        is_sized = (shares > 0) & (shares >= options.min_share) & (shares <= options.max_share)
        return found.chosen(np.flatnonzero(is_sized))


def point_grid(grid_wh: tuple[int, int], size_wh: tuple[int, int]) -> FloatArray:
    """Centres of the cells of an even grid over the image, row by row: float32 [columns * rows, 2]."""
    x, y = ((np.arange(count) + 0.5) * size / count for count, size in zip(grid_wh, size_wh, strict=True))
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2).astype(np.float32)


def stability_scores(logits: FloatArray, offset: float) -> FloatArray:
    """IoU of each mask of [N, h, w] with itself if its threshold is moved up and down by `offset`; 0 if empty.

    Source: Kirillov et al., "Segment Anything", 2023, the stability score.
    """
    inner, outer = (np.count_nonzero(logits > level, axis=(1, 2)) for level in (offset, -offset))
    scores: FloatArray = (inner / np.maximum(outer, 1)).astype(np.float32)
    return scores


def largest_parts(logits: FloatArray) -> FloatArray:
    """The logits [N, h, w], set below 0 in all parts of a mask except the largest; connectivity includes corners."""
    parted: FloatArray = logits.copy()
    for one in parted:
        mask = one > 0
        count, part_ids, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        if count > 2:
            one[mask & (part_ids != 1 + stats[1:, cv2.CC_STAT_AREA].argmax())] = OUTSIDE
    return parted


def mask_ious(a: BoolMask, b: BoolMask) -> FloatArray:
    """IoU of each mask of [N, h, w] with each of [M, h, w], float32 [N, M]; 0 if both are empty."""
    flat_a, flat_b = (masks.reshape(len(masks), np.prod(masks.shape[1:])).astype(np.float32) for masks in (a, b))
    both = flat_a @ flat_b.T
    either = flat_a.sum(1)[:, None] + flat_b.sum(1)[None] - both
    ious: FloatArray = both / np.maximum(either, 1)
    return ious


def suppressed(masks: BoolMask, ranks: FloatArray, max_overlap: float) -> NDArray[np.int64]:
    """Indices of the masks that non-maximum suppression keeps, by descending rank."""
    ious = mask_ious(masks, masks)
    kept: list[int] = []
    for index in np.argsort(-ranks, kind="stable"):
        if not kept or ious[index, kept].max() <= max_overlap:
            kept.append(int(index))
    return np.array(kept, np.int64)


def largest_first(masks: BoolMask, most: int) -> NDArray[np.int64]:
    """Indices of the `most` largest masks, the largest first."""
    return np.argsort(-masks.sum((1, 2)), kind="stable")[:most]

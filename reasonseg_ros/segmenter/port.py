"""The port of segmenters: encode an image once, decode any number of prompts on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from reasonseg_ros.engine.port import NOT_FINITE_REMEDY
from reasonseg_ros.errors import ModelError
from reasonseg_ros.types import BoolMask, FloatArray, Grounding, RgbImage


@dataclass(frozen=True, eq=False)
class Features:
    """An encoded image. `data` belongs to the segmenter that made it; `size_wh` is the source image's size."""

    data: Any
    size_wh: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ScoredMask:
    """bool [H, W] of the source image, and the predicted IoU, 0 to 1.

    Raises ModelError for a score that is not finite, which results and messages must not contain.
    """

    mask: BoolMask
    score: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise ModelError(f"mask decoder: the predicted IoU is not finite; {NOT_FINITE_REMEDY}")


@dataclass(frozen=True, eq=False)
class LowResMasks:
    """Masks from the decoder, before upsampling to the image.

    Attributes:
        logits: float32 [N, h, w] over the whole image, squashed; inside a mask they are above 0.
        scores: predicted IoU, float32 [N], 0 to 1.
    """

    logits: FloatArray
    scores: FloatArray


class Segmenter(Protocol):
    """Encodes an image once, then decodes any number of prompts on it.

    Attributes:
        needs_boxes: it was trained with boxes; masks from points alone are unusable.
    """

    name: str
    needs_boxes: bool

    def encode(self, rgb: RgbImage) -> Features:
        """Image features of uint8 [H, W, 3]. Raises OutOfMemory; ModelError if they are not finite."""
        ...

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        """One mask for each grounding, all in one batch, in the source image's pixels.

        Raises OutOfMemory; ModelError if logits or scores are not finite.
        """
        ...

    def decode_low_res(self, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        """The masks of `decode` at the decoder's resolution, without refinement. Raises what `decode` raises."""
        ...

    def decode_points(self, features: Features, points_xy: FloatArray) -> LowResMasks:
        """The mask of each single point, float32 [N, 2] in the source image's pixels, at the decoder's resolution.

        Raises ModelError if the checkpoint needs boxes and has no graph for points; else what `decode` raises.
        """
        ...

    def feature_map(self, features: Features) -> FloatArray:
        """The coarsest map of the image encoder over the whole squashed image: float32 [h, w, C]."""
        ...


@dataclass(frozen=True, eq=False)
class Track:
    """One tracked target in one frame. Raises ModelError for a score that is not finite.

    Attributes:
        mask: bool [H, W]; empty while the target is not visible.
        score: the predicted IoU, 0 to 1; 0 while it is not visible.
        state: `new` in the frame in which it was added, `tracked`, `occluded`, or `lost` when occluded for too long. A
            target without a pixel is never `new` or `tracked`.
        since_ns: stamp from which it has been in this state.
        seen_ns: stamp of the last frame in which it was seen.
    """

    track_id: int
    mask: BoolMask
    score: float
    state: str
    since_ns: int
    seen_ns: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise ModelError(f"track {self.track_id}: the predicted IoU is not finite; {NOT_FINITE_REMEDY}")


def single_points(points_xy: FloatArray) -> list[Grounding]:
    """A grounding without a box for each of float32 [N, 2]."""
    return [Grounding(np.array([x, y, x + 1, y + 1]), np.array([[x, y]]), has_box=False) for x, y in points_xy]


class Tracker(Protocol):
    """Tracks targets through the frames it is given, in the order of their stamps. Not thread-safe.

    Tracks are returned in the order of their ids. No id is used twice before `reset`.
    """

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        """Start a track for each grounding in this frame, and return these. The other targets stay tracked.

        `masks`, bool [H, W] for each grounding, are the targets' finished masks in this frame. A track that starts from
        a mask has that mask. Without masks the groundings are segmented.
        """
        ...

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        """Every target in the next frame."""
        ...

    def remove(self, track_ids: Sequence[int]) -> None:
        """Stop tracking these targets. Raises InvalidInput for an id that is not tracked."""
        ...

    def reset(self) -> None:
        """Forget every target."""
        ...

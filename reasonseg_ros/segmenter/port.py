"""What every segmenter offers: encode an image once, decode any number of prompts on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reasonseg_ros.engine.port import NOT_FINITE_REMEDY
from reasonseg_ros.errors import ModelError
from reasonseg_ros.types import BoolMask, Grounding, RgbImage


@dataclass(frozen=True, eq=False)
class Features:
    """An encoded image. `data` belongs to the segmenter that made it; `size_wh` is the source image's size."""

    data: Any
    size_wh: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ScoredMask:
    """bool [H, W] of the source image, and the predicted IoU, 0 to 1.

    Raises ModelError for a score that is not finite: results and messages hold numbers only.
    """

    mask: BoolMask
    score: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise ModelError(f"mask decoder: the predicted IoU is not finite; {NOT_FINITE_REMEDY}")


class Segmenter(Protocol):
    """Encodes an image once, then decodes any number of prompts on it.

    Attributes:
        needs_boxes: it was trained with boxes; its masks of points alone are useless.
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


@dataclass(frozen=True, eq=False)
class Track:
    """One followed target in one frame. Raises ModelError for a score that is not finite.

    Attributes:
        mask: bool [H, W]; empty while the target is not seen.
        score: the predicted IoU, 0 to 1; 0 while it is not seen.
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

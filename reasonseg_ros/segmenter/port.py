"""What every segmenter offers: encode an image once, decode any number of prompts on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reasonseg_ros.types import BoolMask, Grounding, RgbImage


@dataclass(frozen=True, eq=False)
class Features:
    """An encoded image. `data` belongs to the segmenter that made it; `size_wh` is the source image's size."""

    data: Any
    size_wh: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ScoredMask:
    """bool [H, W] of the source image, and the predicted IoU, 0 to 1."""

    mask: BoolMask
    score: float


class Segmenter(Protocol):
    name: str

    def encode(self, rgb: RgbImage) -> Features:
        """Image features of uint8 [H, W, 3]. Raises OutOfMemory."""
        ...

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        """One mask for each grounding, all in one batch, in the source image's pixels. Raises OutOfMemory."""
        ...

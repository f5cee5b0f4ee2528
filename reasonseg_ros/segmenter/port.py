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


@dataclass(frozen=True, eq=False)
class Track:
    """One followed target in one frame.

    Attributes:
        mask: bool [H, W]; empty while the target is not seen.
        score: the predicted IoU, 0 to 1; 0 while it is not seen.
        state: `new` in the frame where it was added, `tracked`, `occluded`, or `lost` when occluded for too long.
        since_ns: stamp from which it has been in this state.
        seen_ns: stamp of the last frame in which it was seen.
    """

    track_id: int
    mask: BoolMask
    score: float
    state: str
    since_ns: int
    seen_ns: int


class Tracker(Protocol):
    """Follows targets through the frames that it is given, in the order of their stamps. Not thread-safe."""

    def add(self, features: Features, groundings: Sequence[Grounding], stamp_ns: int) -> list[Track]:
        """Begin to follow one target for each grounding in this frame; the others are followed on."""
        ...

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        """Every target in the next frame."""
        ...

    def remove(self, track_ids: Sequence[int]) -> None: ...

    def reset(self) -> None:
        """Forget every target."""
        ...

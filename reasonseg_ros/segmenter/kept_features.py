"""A segmenter that remembers the last image: prompted again on the same one, it is not encoded twice."""

from __future__ import annotations

from collections.abc import Sequence

from reasonseg_ros.segmenter.port import Features, ScoredMask, Segmenter
from reasonseg_ros.types import Grounding, RgbImage


class KeptFeatures:
    """Wraps any segmenter. The image is known by its identity, so it must not be drawn on in between."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.name = segmenter.name
        self._segmenter = segmenter
        self._last: tuple[RgbImage, Features] | None = None

    def encode(self, rgb: RgbImage) -> Features:
        if self._last is None or self._last[0] is not rgb:
            self._last = rgb, self._segmenter.encode(rgb)
        return self._last[1]

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        return self._segmenter.decode(features, groundings)

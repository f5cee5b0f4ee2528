"""A segmenter that caches the features of the last images, so that they are not encoded twice."""

from __future__ import annotations

from collections.abc import Sequence

from reasonseg_ros.images.memory import ImageMemory
from reasonseg_ros.segmenter.port import Features, LowResMasks, ScoredMask, Segmenter
from reasonseg_ros.types import FloatArray, Grounding, RgbImage


class KeptFeatures:
    """Wraps any segmenter. Images are compared by identity, so they must not be modified in between. One thread may
    encode an image in advance for another one.
    """

    def __init__(self, segmenter: Segmenter, images: int = 1) -> None:
        """Caches the features of the last `images` images."""
        self.name = segmenter.name
        self.needs_boxes = segmenter.needs_boxes
        self._segmenter = segmenter
        self._kept: ImageMemory[Features] = ImageMemory(images)

    def encode(self, rgb: RgbImage) -> Features:
        features = self._kept.get(rgb)
        if features is None:
            features = self._segmenter.encode(rgb)
            self._kept.put(rgb, features)
        return features

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        return self._segmenter.decode(features, groundings)

    def decode_low_res(self, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        return self._segmenter.decode_low_res(features, groundings)

    def decode_points(self, features: Features, points_xy: FloatArray) -> LowResMasks:
        return self._segmenter.decode_points(features, points_xy)

    def feature_map(self, features: Features) -> FloatArray:
        return self._segmenter.feature_map(features)

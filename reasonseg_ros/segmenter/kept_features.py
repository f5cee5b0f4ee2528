"""A segmenter that remembers the last images: prompted again on one of them, it is not encoded twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from reasonseg_ros.segmenter.port import Features, ScoredMask, Segmenter
from reasonseg_ros.types import Grounding, RgbImage


class KeptFeatures:
    """Wraps any segmenter. An image is known by its identity, so it must not be drawn on in between.

    One thread may encode an image ahead, so that another, which is given the same image later, finds its features.
    """

    def __init__(self, segmenter: Segmenter, images: int = 1) -> None:
        """Keeps the features of the last `images` images."""
        self.name = segmenter.name
        self._segmenter = segmenter
        self._images = images
        # The image is kept with its features, so that no other gets its id.
        self._kept: OrderedDict[int, tuple[RgbImage, Features]] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, rgb: RgbImage) -> Features:
        with self._lock:
            known = self._kept.get(id(rgb))
        if known is not None:
            return known[1]
        features = self._segmenter.encode(rgb)
        with self._lock:
            self._kept[id(rgb)] = rgb, features
            while len(self._kept) > self._images:
                self._kept.popitem(last=False)
        return features

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        return self._segmenter.decode(features, groundings)

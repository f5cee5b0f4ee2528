"""Whether the picture changed since a standing question was asked: a comparison of thumbnails.

It takes a tenth of a millisecond. A comparison of features would need every image encoded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TypeVar

import cv2
import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.types import FloatArray, RgbImage

PERIOD_S = 0.5
"""Minimum time between two comparisons."""
_Key = TypeVar("_Key")


class SceneChange:
    """Checks the newest image from time to time. For one thread."""

    def __init__(self) -> None:
        self._looked_s = -math.inf
        self._looked_at: Arrival | None = None

    def due_s(self, newest: Arrival | None, scenes: Mapping[_Key, FloatArray], limit: float) -> float:
        """Seconds until `newest` should be checked; infinity if there is nothing to compare it with."""
        if not limit or newest is None or newest is self._looked_at or not scenes:
            return math.inf
        return max(0.0, self._looked_s + PERIOD_S - time.monotonic())

    def look(self, newest: Arrival, scenes: Mapping[_Key, FloatArray], limit: float) -> list[_Key]:
        """Keys of the thumbnails that differ from `newest` by more than `limit`, mean brightness difference, 0 to 1."""
        self._looked_s, self._looked_at = time.monotonic(), newest
        try:
            now = thumbnail(newest.load().rgb)
        except InvalidInput:
            return []  # reported and counted on arrival

        return [key for key, scene in scenes.items() if brightness_difference(scene, now) > limit]


def thumbnail(rgb: RgbImage) -> FloatArray:
    """float32 [24, 32], 0 to 1: small enough to average out noise."""
    grey = cv2.cvtColor(cv2.resize(rgb, (32, 24), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.float32) / 255.0


def brightness_difference(one: FloatArray, other: FloatArray) -> float:
    return float(np.abs(one - other).mean())

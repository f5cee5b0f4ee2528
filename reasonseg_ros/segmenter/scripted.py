"""A segmenter without a model: it fills each grounding's box or the ellipse inside it. For tests and dry runs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from reasonseg_ros.segmenter.port import Features, ScoredMask
from reasonseg_ros.types import BoolMask, Grounding, RgbImage


class ScriptedSegmenter:
    """Fills `shape` ("ellipse" or "box") of every grounding, and always predicts the same IoU `score`."""

    def __init__(self, shape: str = "ellipse", score: float = 0.9) -> None:
        if shape not in ("ellipse", "box"):
            raise ValueError(f"shape = {shape!r}; expected ellipse or box")
        self.name = f"scripted {shape}"
        self.shape = shape
        self.score = score

    def encode(self, rgb: RgbImage) -> Features:
        return Features(None, (rgb.shape[1], rgb.shape[0]))

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        return [ScoredMask(self._fill(grounding, features.size_wh), self.score) for grounding in groundings]

    def _fill(self, grounding: Grounding, size_wh: tuple[int, int]) -> BoolMask:
        canvas = np.zeros((size_wh[1], size_wh[0]), np.uint8)
        x1, y1, x2, y2 = (round(float(value)) for value in grounding.box_xyxy)
        if self.shape == "box":
            cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), 1, cv2.FILLED)
        else:
            centre, axes = ((x1 + x2 - 1) // 2, (y1 + y2 - 1) // 2), ((x2 - x1 - 1) // 2, (y2 - y1 - 1) // 2)
            cv2.ellipse(canvas, centre, axes, 0, 0, 360, 1, cv2.FILLED)
        return canvas.astype(bool)

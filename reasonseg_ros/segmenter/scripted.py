"""A segmenter without a model: it fills each grounding's box or the ellipse inside it. For tests and dry runs.

Its tracker follows colours.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.segmenter.port import Features, LowResMasks, ScoredMask, Track
from reasonseg_ros.types import BoolMask, FloatArray, Grounding, RgbImage

LOW_RES_PX, MAP_PX = 128, 32
"""Sides of the masks of the decoder and of the feature map of the encoder."""


class ScriptedSegmenter:
    """Fills `shape` ("ellipse" or "box") of every grounding, and always predicts the same IoU `score`."""

    def __init__(self, shape: str = "ellipse", score: float = 0.9) -> None:
        if shape not in ("ellipse", "box"):
            raise ValueError(f"shape = {shape!r}; expected ellipse or box")
        self.name = f"scripted {shape}"
        self.needs_boxes = False
        self.shape = shape
        self.score = score

    def encode(self, rgb: RgbImage) -> Features:
        return Features(rgb, (rgb.shape[1], rgb.shape[0]))

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        return [ScoredMask(self._fill(grounding, features.size_wh), self.score) for grounding in groundings]

    def decode_low_res(self, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        masks = [_low_res(self._fill(grounding, features.size_wh)) for grounding in groundings]
        return self._low_res_masks(masks)

    def decode_points(self, features: Features, points_xy: FloatArray) -> LowResMasks:
        """All pixels of the colour under each point."""
        masks = [_low_res((features.data == features.data[int(y), int(x)]).all(-1)) for x, y in points_xy]
        return self._low_res_masks(masks)

    def feature_map(self, features: Features) -> FloatArray:
        """Mean colours, from 0 to 1."""
        small = cv2.resize(features.data, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
        colours: FloatArray = small.astype(np.float32) / np.float32(255)
        return colours

    def _low_res_masks(self, masks: list[FloatArray]) -> LowResMasks:
        logits = np.array(masks, np.float32).reshape(-1, LOW_RES_PX, LOW_RES_PX)
        return LowResMasks(logits, np.full(len(masks), self.score, np.float32))

    def _fill(self, grounding: Grounding, size_wh: tuple[int, int]) -> BoolMask:
        canvas = np.zeros((size_wh[1], size_wh[0]), np.uint8)
        x1, y1, x2, y2 = (round(float(value)) for value in grounding.box_xyxy)
        if self.shape == "box":
            cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), 1, cv2.FILLED)
        else:
            centre, axes = ((x1 + x2 - 1) // 2, (y1 + y2 - 1) // 2), ((x2 - x1 - 1) // 2, (y2 - y1 - 1) // 2)
            cv2.ellipse(canvas, centre, axes, 0, 0, 360, 1, cv2.FILLED)
        return canvas.astype(bool)


def _low_res(mask: BoolMask) -> FloatArray:
    """Logits -10 to 10 at the resolution of a decoder."""
    share = cv2.resize(mask.astype(np.float32), (LOW_RES_PX, LOW_RES_PX), interpolation=cv2.INTER_AREA)
    logits: FloatArray = 20 * share - 10
    return logits


class ScriptedTracker:
    """Tracks the colour in the middle of each grounding's box, over the features of a ScriptedSegmenter.

    A target is `lost` when it has not been visible for `lost_after_s`; it is found again when its colour returns.
    """

    def __init__(self, lost_after_s: float = 1.0) -> None:
        self.lost_after_s = lost_after_s
        self._colors: dict[int, RgbImage] = {}
        self._last: dict[int, Track] = {}
        self._next_id = 1

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        added = []
        for index, grounding in enumerate(groundings):
            x1, y1, x2, y2 = grounding.box_xyxy
            color = features.data[int((y1 + y2) / 2), int((x1 + x2) / 2)]
            mask = (features.data == color).all(axis=-1) if masks is None else masks[index]
            state = "new" if mask.any() else "occluded"
            track = Track(self._next_id, mask, float(mask.any()), state, stamp_ns, stamp_ns)
            self._colors[track.track_id], self._last[track.track_id] = color, track
            self._next_id += 1
            added.append(track)
        return added

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        self._last = {key: self._follow(features, last, stamp_ns) for key, last in self._last.items()}
        return list(self._last.values())

    def remove(self, track_ids: Sequence[int]) -> None:
        for key in track_ids:
            if key not in self._last:
                known = ", ".join(map(str, self._last)) or "nothing"
                raise InvalidInput(f"track {key} is not tracked; tracked: {known}")
            del self._colors[key], self._last[key]

    def reset(self) -> None:
        self._colors.clear()
        self._last.clear()

    def _follow(self, features: Features, last: Track, stamp_ns: int) -> Track:
        mask = (features.data == self._colors[last.track_id]).all(axis=-1)
        seen_ns = stamp_ns if mask.any() else last.seen_ns
        is_lost = stamp_ns - seen_ns > self.lost_after_s * 1e9
        state = "tracked" if mask.any() else "lost" if is_lost else "occluded"
        since_ns = last.since_ns if last.state == state else stamp_ns
        return Track(last.track_id, mask, float(mask.any()), state, since_ns, seen_ns)

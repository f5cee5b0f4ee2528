"""SAM2's image part as exported graphs: no torch, and every grounding of an image in one batch.

The same algorithm as `segmenter.sam2`, which runs the checkpoint itself; here the graph chooses the mask.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np

from reasonseg_ros.engine.manifest import Manifest
from reasonseg_ros.engine.port import Engine, Value, check_finite, to_host
from reasonseg_ros.errors import ModelError
from reasonseg_ros.geometry import resize_logits, scale_xy, squash
from reasonseg_ros.segmenter.port import Features, LowResMasks, ScoredMask, single_points
from reasonseg_ros.types import FloatArray, Grounding, RgbImage

PAD, IGNORED = -1, -10
"""Labels of the point that SAM2 adds to each prompt, and of points that pad the batch."""
BOX_CORNERS = (2, 3)
KEPT = ("image_embed", "high_res_0", "high_res_1", "vision_feat")


class ExportedSegmenter:
    """Masks from boxes and points, over an encoder and a decoder engine.

    `Features.data` maps the encoder's outputs by name to values on the engines' device.
    """

    def __init__(
        self,
        encoder: Engine,
        decoder: Engine,
        manifest: Manifest,
        at_once: int = 0,
        needs_boxes: bool = False,
        points: Callable[[], Engine] | None = None,
    ) -> None:
        """`at_once` prompts go through the decoder together; 0 means one on a CPU, because the values of a batch do not
        fit in its cache, and the decoder's maximum on a GPU. `points` gives the engine for single points; without it
        they go through the decoder.
        """
        self.name = f"{manifest.name} ({encoder.runtime})"
        self.needs_boxes = needs_boxes
        self.size_px = manifest.size_px
        self._encoder, self._decoder, self._points = encoder, decoder, points
        self._at_once = at_once or (1 if decoder.device == "cpu" else sys.maxsize)

    def encode(self, rgb: RgbImage) -> Features:
        """Features of uint8 [H, W, 3], squashed to the model's square. Raises OutOfMemory and ModelError."""
        data = self._encoder.run({"image": squash(rgb, self.size_px)[None]}, keep=KEPT)
        check_finite("image encoder", data)
        return Features(data, (rgb.shape[1], rgb.shape[0]))

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        """One mask per grounding, in batches. Raises OutOfMemory and ModelError."""
        found = self.decode_low_res(features, groundings)
        return [
            ScoredMask(resize_logits(logits, features.size_wh), float(score))
            for logits, score in zip(found.logits, found.scores, strict=True)
        ]

    def decode_low_res(self, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        return self._decode_batches(self._decoder, features, groundings)

    def decode_points(self, features: Features, points_xy: FloatArray) -> LowResMasks:
        decoder = self._decoder if self._points is None else self._points()
        if decoder is self._decoder and self.needs_boxes:
            raise ModelError(f"{self.name} was trained with boxes, and its export has no graph for points; train one "
                             "with `reasonseg train points`, or use another segmenter.model")  # fmt: skip
        return self._decode_batches(decoder, features, single_points(points_xy))

    def feature_map(self, features: Features) -> FloatArray:
        side = self.size_px // 16
        coarsest: FloatArray = to_host(features.data["image_embed"])[0].reshape(side, side, -1).astype(np.float32)
        return coarsest

    def _decode_batches(self, decoder: Engine, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        at_once = min(self._at_once, decoder.largest.get("N", max(len(groundings), 1)))
        parts = [
            self._decode_batch(decoder, features, groundings[start : start + at_once])
            for start in range(0, len(groundings), at_once)
        ]
        if not parts:
            return LowResMasks(np.zeros((0, self.size_px // 4, self.size_px // 4), np.float32), np.zeros(0, np.float32))
        return LowResMasks(np.concatenate([one.logits for one in parts]), np.concatenate([one.scores for one in parts]))

    def _decode_batch(self, decoder: Engine, features: Features, groundings: Sequence[Grounding]) -> LowResMasks:
        coords, labels = prompt_points(groundings, features.size_wh, self.size_px)
        decoded = decoder.run(
            {
                "image_embed": _for_each(features.data["image_embed"], len(groundings)),
                "high_res_0": features.data["high_res_0"],
                "high_res_1": features.data["high_res_1"],
                "point_coords": coords,
                "point_labels": labels,
            }
        )
        check_finite("mask decoder", {name: decoded[name] for name in ("masks", "iou")})
        return LowResMasks(decoded["masks"][:, 0], np.clip(decoded["iou"][:, 0], 0.0, 1.0))


def prompt_points(
    groundings: Sequence[Grounding], size_wh: tuple[int, int], size_px: int
) -> tuple[FloatArray, np.ndarray]:
    """Prompts as the decoder takes them: float32 [N, P, 2] in pixels of the square, int32 [N, P] labels.

    Each has its points, its box as two corners, and SAM2's padding point; shorter ones are padded.
    """
    rows = []
    for grounding in groundings:
        coords = [np.asarray(grounding.points_xy, np.float32)]
        labels = [*np.asarray(grounding.point_labels).tolist()]
        if grounding.has_box:
            coords.append(grounding.box_xyxy.reshape(2, 2))
            labels += BOX_CORNERS
        rows.append((scale_xy(np.concatenate(coords), size_wh, (size_px, size_px)), labels))
    longest = max(len(labels) for _, labels in rows) + 1
    all_coords = np.zeros((len(rows), longest, 2), np.float32)
    all_labels = np.full((len(rows), longest), IGNORED, np.int32)
    for index, (points, labels) in enumerate(rows):
        all_coords[index, : len(labels)] = points
        all_labels[index, : len(labels) + 1] = [*labels, PAD]
    return all_coords, all_labels


def _for_each(embed: Value, count: int) -> Value:
    """[1, C, h, h] expanded to [count, C, h, h], without a copy if the engine needs none."""
    if isinstance(embed, np.ndarray):
        return np.broadcast_to(embed, (count, *embed.shape[1:]))
    return embed.expand(count, *embed.shape[1:])

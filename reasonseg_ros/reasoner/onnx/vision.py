"""From images to the features that the text model reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reasonseg_ros.engine.onnxruntime import BoundGraph
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.reasoner.onnx.manifest import VISION, ReasonerManifest, VisionShape
from reasonseg_ros.reasoner.onnx.positions import Grid, merged_order, patch_rotation, window_mask
from reasonseg_ros.types import FloatArray, RgbImage


class VisionModel:
    """Encodes images of any size in whole tokens. Not thread-safe."""

    def __init__(self, folder: Path, manifest: ReasonerManifest, threads: int) -> None:
        self._graph = BoundGraph(folder / VISION, "vision graph", threads)
        self._shape = manifest.vision
        self._width = manifest.text.width
        self._tables: dict[tuple[int, int], dict[str, FloatArray]] = {}

    def features(self, rgb: RgbImage) -> tuple[FloatArray, Grid]:
        """Features float32 [tokens, width] of uint8 [H, W, 3], and the grid of the tokens.

        Raises InvalidInput if the sides are no whole number of tokens.
        """
        merge, patch_px = self._shape.merge, self._shape.patch_px
        rows, columns = rgb.shape[0] // patch_px, rgb.shape[1] // patch_px
        token_px = merge * patch_px
        if rgb.shape[0] % token_px or rgb.shape[1] % token_px:
            raise InvalidInput(f"image of {rgb.shape[1]}x{rgb.shape[0]} pixels; expected multiples of {token_px}")
        grid = rows // merge, columns // merge
        found = np.empty((grid[0] * grid[1], self._width), np.float32)
        inputs = {"patches": patches_of(rgb, self._shape), **self._of_size(rows, columns)}
        self._graph.bind(inputs, {"features": found})()
        return found, grid

    def _of_size(self, rows: int, columns: int) -> dict[str, FloatArray]:
        """Tables that depend only on the size, cached for a few sizes."""
        if (rows, columns) not in self._tables:
            if len(self._tables) >= 4:
                self._tables.clear()
            cos, sin = patch_rotation(rows, columns, self._shape)
            tables = {"cos": cos, "sin": sin}
            if self._shape.window_px:
                tables["window"] = window_mask(rows, columns, self._shape)
            self._tables[rows, columns] = tables
        return self._tables[rows, columns]


def patches_of(rgb: RgbImage, shape: VisionShape) -> FloatArray:
    """uint8 [H, W, 3] as normalised patches, float32 [patches, 3 * patch_px ** 2], those of one token together."""
    side = shape.patch_px
    rows, columns = rgb.shape[0] // side, rgb.shape[1] // side
    scale = np.float32(1.0) / (np.float32(255.0) * np.array(shape.std, np.float32))
    shift = np.array(shape.mean, np.float32) / np.array(shape.std, np.float32)
    normalised = rgb * scale - shift
    cut = normalised.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3).reshape(rows * columns, -1)
    ordered: FloatArray = cut[merged_order(rows, columns, shape.merge)].astype(np.float32, copy=False)
    return ordered

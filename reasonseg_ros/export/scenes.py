"""Synthetic scenes with prompts, on which an export is compared with its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from reasonseg_ros.types import Grounding, RgbImage

OBJECTS = 8


@dataclass(frozen=True, eq=False)
class SampleScene:
    """An image uint8 [S, S, 3], the next frame, and a grounding for each object, of all forms that reasoners give."""

    rgb: RgbImage
    next_rgb: RgbImage
    groundings: Sequence[Grounding]


def sample_scene(size_px: int, seed: int) -> SampleScene:
    """Eight shaded blobs and blocks on a textured table. In the next frame they have moved a little."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(90, 200, (6, 6, 3), np.uint8)
    table = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    table += rng.normal(0, 5, table.shape).astype(np.float32)
    cell = size_px / 3
    places = rng.permutation(9)[:OBJECTS]
    centres = np.stack([places % 3, places // 3], 1) * cell + cell * rng.uniform(0.42, 0.58, (OBJECTS, 2))
    radii = cell * rng.uniform(0.15, 0.36, (OBJECTS, 2))
    colours = rng.integers(0, 256, (OBJECTS, 3))
    moves = cell * rng.uniform(-0.06, 0.06, (OBJECTS, 2))
    now, later = (_draw(table, centres + time * moves, radii, colours) for time in (0, 1))
    return SampleScene(
        now, later, [_grounding(index, *row) for index, row in enumerate(zip(centres, radii, strict=True))]
    )


def _draw(table: np.ndarray, centres: np.ndarray, radii: np.ndarray, colours: np.ndarray) -> RgbImage:
    image = table.copy()
    for index, (centre, radius, colour) in enumerate(zip(centres, radii, colours, strict=True)):
        mask = np.zeros(image.shape[:2], np.uint8)
        if index % 2:
            first, last = ((centre - radius).astype(int).tolist(), (centre + radius).astype(int).tolist())
            cv2.rectangle(mask, first, last, 1, cv2.FILLED)
        else:
            cv2.ellipse(
                mask, centre.astype(int).tolist(), radius.astype(int).tolist(), 20 * index, 0, 360, 1, cv2.FILLED
            )
        shade = np.linspace(0.7, 1.2, len(image), dtype=np.float32)[:, None, None]
        image = np.where(mask[..., None] > 0, colour.astype(np.float32) * shade, image)
    blurred: RgbImage = cv2.GaussianBlur(image.clip(0, 255).astype(np.uint8), (3, 3), 0)
    return blurred


def _grounding(index: int, centre: np.ndarray, radius: np.ndarray) -> Grounding:
    """In turn: a box; a box and a point; a box and two points, one of them outside; a point alone."""
    box = np.concatenate([centre - radius, centre + radius])
    points = [[], [centre], [centre, centre + 1.3 * radius], [centre]][index % 4]
    labels = [1, 0][: len(points)]
    return Grounding(box, np.reshape(points, (-1, 2)), np.array(labels, np.int32), has_box=index % 4 != 3)

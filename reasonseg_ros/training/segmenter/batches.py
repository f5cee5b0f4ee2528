"""Batches for the segmenter: rendered scenes, their masks, and prompts as imprecise as those of a reasoner.

All randomness comes from the given generator, so a step can be repeated from its number.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from reasonseg_ros.geometry import mask_box
from reasonseg_ros.segmenter.sam2 import preprocess
from reasonseg_ros.training.rendered.scenes import SceneFiles, StoredScene
from reasonseg_ros.training.skipping import Skipped
from reasonseg_ros.types import BoolMask, FloatArray, RgbImage

PART_SHARE = 0.2
LEAST_TARGET_PX = 25
POINT_COUNTS, POINT_COUNT_SHARES = (0, 1, 2), (0.3, 0.45, 0.25)


@dataclass(frozen=True, eq=False)
class MaskBatch:
    """B images of S x S pixels with K targets each.

    Attributes:
        pixels: float32 [B, 3, S, S], normalised.
        targets: float32 [B, K, S, S]; between 0 and 1 on border pixels.
        boxes_xyxy: float32 [B, K, 4] in pixels of the S x S image.
        points_xy: float32 [B, K, P, 2], or None for box only.
    """

    pixels: torch.Tensor
    targets: torch.Tensor
    boxes_xyxy: torch.Tensor
    points_xy: torch.Tensor | None


def scene_batch(scenes: SceneFiles, images: int, targets: int, size_px: int, rng: np.random.Generator) -> MaskBatch:
    """Random scenes, cropped, mirrored and recoloured, with random objects and parts as targets."""
    point_count = int(rng.choice(POINT_COUNTS, p=POINT_COUNT_SHARES))
    pixels: list[FloatArray] = []
    masks, boxes, points = [], [], []
    skipped = Skipped(len(scenes), f"no scene has an object of {LEAST_TARGET_PX} pixels; render larger scenes")
    while len(pixels) < images:
        rgb, instance_ids, part_ids = _augmented(scenes[int(rng.integers(len(scenes)))], rng)
        things = [instance_ids == i for i in np.unique(instance_ids[instance_ids > 0])]
        parts = [part_ids == i for i in np.unique(part_ids[part_ids > 0])]
        things, parts = ([m for m in group if np.count_nonzero(m) >= LEAST_TARGET_PX] for group in (things, parts))
        if not things:
            skipped.skip()
            continue
        skipped.use()
        chosen = _choose(things, parts, targets, rng)
        height, width = instance_ids.shape
        factors = np.array([size_px / width, size_px / height], np.float32)
        pixels.append(preprocess(rgb, size_px))
        masks.append([shrunk(mask, size_px) for mask in chosen])
        boxes.append([box_prompt(mask, rng).reshape(2, 2) * factors for mask in chosen])
        points.append([point_prompts(mask, point_count, rng) * factors for mask in chosen])
    return MaskBatch(
        torch.from_numpy(np.stack(pixels)),
        torch.from_numpy(np.array(masks, np.float32)),
        torch.from_numpy(np.array(boxes, np.float32).reshape(images, targets, 4)),
        torch.from_numpy(np.array(points, np.float32)) if point_count else None,
    )


def ellipse_batch(scenes: SceneFiles, images: int, targets: int, size_px: int, rng: np.random.Generator) -> MaskBatch:
    """Ellipses in random boxes, independent of the image. They teach the decoder the meaning of a box."""
    chosen = [scenes[int(rng.integers(len(scenes)))] for _ in range(images)]
    centres = rng.uniform(0.1, 0.9, (images, targets, 2)) * size_px
    halves = rng.uniform(0.03, 0.2, (images, targets, 2)) * size_px
    angles = rng.uniform(0, 2 * np.pi, (images, targets, 2))
    points = centres[:, :, None] + 0.6 * halves[:, :, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    rows, columns = np.mgrid[:size_px, :size_px] + 0.5
    x, y = ((axis - centres[..., i, None, None]) / halves[..., i, None, None] for i, axis in enumerate((columns, rows)))
    return MaskBatch(
        torch.from_numpy(np.stack([preprocess(scene.rgb, size_px) for scene in chosen])),
        torch.from_numpy((x * x + y * y < 1).astype(np.float32)),
        torch.from_numpy(np.concatenate([centres - halves, centres + halves], -1).clip(0, size_px).astype(np.float32)),
        torch.from_numpy(points.clip(0, size_px - 1).astype(np.float32)),
    )


def box_prompt(mask: BoolMask, rng: np.random.Generator) -> FloatArray:
    """The mask's box with sides moved by about a pixel, sometimes by more. float32 [4], inside the image."""
    box = mask_box(mask)
    assert box is not None
    size = np.tile(box[2:] - box[:2], 2)
    spread = rng.choice([0.0, 0.03, 0.07], p=[0.35, 0.45, 0.2]) * size + rng.choice([0.5, 1.5])
    # At most a fifth of the size, so that the sides keep their order.
    moved = box + np.clip(rng.normal(size=4) * spread, -0.2 * size, 0.2 * size)
    height, width = mask.shape
    return np.clip(moved, 0, [width, height, width, height]).astype(np.float32)


def point_prompts(mask: BoolMask, count: int, rng: np.random.Generator) -> FloatArray:
    """Points on the mask, float32 [P, 2], sometimes off by a few pixels. Often the first is near the centre."""
    rows, columns = np.nonzero(mask)
    inside = np.stack([columns, rows], -1).astype(np.float32)
    picked = inside[rng.integers(len(inside), size=count)]
    if count and rng.random() < 0.5:
        picked[0] = inside[np.square(inside - inside.mean(0)).sum(-1).argmin()]
    spread = rng.choice([0.5, 3.0], p=[0.85, 0.15])
    height, width = mask.shape
    return np.clip(picked + rng.normal(size=(count, 2)) * spread, 0, [width - 1, height - 1]).astype(np.float32)


def _choose(things: list[BoolMask], parts: list[BoolMask], count: int, rng: np.random.Generator) -> list[BoolMask]:
    """`count` masks. Objects repeat only after all were chosen; a share is replaced by parts."""
    order = np.concatenate([rng.permutation(len(things)) for _ in range(-(-count // len(things)))])[:count]
    chosen = [things[i] for i in order]
    for i in range(count):
        if parts and rng.random() < PART_SHARE:
            chosen[i] = parts[int(rng.integers(len(parts)))]
    return chosen


def _augmented(scene: StoredScene, rng: np.random.Generator) -> tuple[RgbImage, NDArray[np.uint8], NDArray[np.uint8]]:
    """A random window of the scene (half of the time all of it), possibly mirrored, with changed light and colour."""
    height, width = scene.instance_ids.shape
    scale = 1.0 if rng.random() < 0.5 else rng.uniform(0.55, 1.0)
    window_h, window_w = round(height * scale), round(width * scale)
    top, left = int(rng.integers(height - window_h + 1)), int(rng.integers(width - window_w + 1))
    window = (slice(top, top + window_h), slice(left, left + window_w))
    rgb, instance_ids, part_ids = (a[window] for a in (scene.rgb, scene.instance_ids, scene.part_ids))
    if rng.random() < 0.5:
        rgb, instance_ids, part_ids = (a[:, ::-1] for a in (rgb, instance_ids, part_ids))
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    light = rgb.astype(np.float32) * gain.astype(np.float32) + rng.uniform(-15, 15)
    if rng.random() < 0.3:
        light += rng.normal(size=light.shape).astype(np.float32) * rng.uniform(1, 6)
    return light.clip(0, 255).astype(np.uint8), np.ascontiguousarray(instance_ids), np.ascontiguousarray(part_ids)


def shrunk(mask: BoolMask, size_px: int) -> FloatArray:
    """The mask resized to a square of `size_px`, float32; between 0 and 1 on border pixels."""
    shrinks = max(mask.shape) > size_px
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), (size_px, size_px), interpolation=interpolation)

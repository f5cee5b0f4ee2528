"""Stored scenes as input of the model: resized, mirrored and augmented like camera images, with dense labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.reasoner.image_size import resize_rgb
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS, SceneObject, ScenePart, mirror
from reasonseg_ros.training.reasoner.model import GRID_WH, IMAGE_TOKENS, IMAGE_WH, MERGE, PATCH_PX, TOKEN_PX
from reasonseg_ros.training.rendered.scenes import StoredScene
from reasonseg_ros.types import RgbImage

BOX_UNIT_PX = IMAGE_WH[0] / 2
_RESIZINGS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
_MIN_PATCH_PX, _MIN_TOKEN_PX = 15, 20


@dataclass(frozen=True, eq=False)
class SceneView:
    """A scene at its rendered size, possibly mirrored."""

    rgb: RgbImage
    instance_ids: NDArray[np.uint8]
    part_ids: NDArray[np.uint8]
    objects: Sequence[SceneObject]
    parts: Sequence[ScenePart]

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.rgb.shape[1], self.rgb.shape[0]


def view(scene: StoredScene, mirrored: bool = False) -> SceneView:
    if not mirrored:
        return SceneView(scene.rgb, scene.instance_ids, scene.part_ids, scene.objects, scene.parts)
    width = scene.rgb.shape[1]
    parts = []
    for part in scene.parts:
        x1, y1, x2, y2 = part.box_xyxy
        x, y = part.point_xy
        parts.append(replace(part, box_xyxy=(width - x2, y1, width - x1, y2), point_xy=(width - 1 - x, y)))
    return SceneView(
        scene.rgb[:, ::-1], scene.instance_ids[:, ::-1], scene.part_ids[:, ::-1], mirror(scene.objects, width), parts
    )


def disturb(rgb: RgbImage, rng: np.random.Generator) -> NDArray[np.float32]:
    """Resize to the model's image, with the blur, noise, compression and light of cameras.

    Mild enough that colours keep their names. Returns float32 [H, W, 3], 0 to 1.
    """
    image = np.ascontiguousarray(rgb)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (5, 5), rng.uniform(0.3, 0.9))
    if rng.random() < 0.2:
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))])
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    if rng.random() < 0.5:
        image = resize_rgb(image, IMAGE_WH)
    else:
        image = cv2.resize(image, IMAGE_WH, interpolation=_RESIZINGS[rng.integers(len(_RESIZINGS))])
    light = image.astype(np.float32) / 255
    if rng.random() < 0.25:
        light += rng.normal(0, rng.uniform(0, 0.02), light.shape).astype(np.float32)
    contrast = rng.uniform(0.85, 1.15)
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.94, 1.06, 3)
    mean = light.mean()
    return np.clip(((light - mean) * contrast + mean) * gain, 0, 1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class DenseLabels:
    """Labels of each patch and image token. Tokens are in reading order; patches are grouped by token.

    Attributes:
        patch_category: int64 [4 * IMAGE_TOKENS]; 0 is the background, else 1 + index in CATEGORIES.
        category, color: int64 [IMAGE_TOKENS], of the object that covers most of the token.
        box: float32 [IMAGE_TOKENS, 6], box and point of that object relative to the image's centre, in BOX_UNIT_PX.
        relative_box: the same, relative to the token's centre.
        tokens: by instance id, the tokens that show it, bool [IMAGE_TOKENS].
        part_tokens: the same by part id.
    """

    patch_category: NDArray[np.int64]
    category: NDArray[np.int64]
    color: NDArray[np.int64]
    box: NDArray[np.float32]
    relative_box: NDArray[np.float32]
    tokens: dict[int, NDArray[np.bool_]]
    part_tokens: dict[int, NDArray[np.bool_]]


def _pixels_per_patch(ids: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Number of pixels of each id in each patch. int64 [IMAGE_TOKENS, 4, count]."""
    small = cv2.resize(np.ascontiguousarray(ids), IMAGE_WH, interpolation=cv2.INTER_NEAREST)
    index = _PATCH_INDEX * count + np.minimum(small, count - 1)
    return np.bincount(index.ravel(), minlength=IMAGE_TOKENS * MERGE**2 * count).reshape(IMAGE_TOKENS, MERGE**2, count)


def _patch_index() -> NDArray[np.int64]:
    rows, columns = np.arange(IMAGE_WH[1])[:, None], np.arange(IMAGE_WH[0])[None]
    token = rows // TOKEN_PX * GRID_WH[0] + columns // TOKEN_PX
    inside = rows // PATCH_PX % MERGE * MERGE + columns // PATCH_PX % MERGE
    return token * MERGE**2 + inside


_PATCH_INDEX = _patch_index()
_TOKEN_CENTRE = np.stack(
    [
        np.arange(IMAGE_TOKENS) % GRID_WH[0] * TOKEN_PX + TOKEN_PX / 2,
        np.arange(IMAGE_TOKENS) // GRID_WH[0] * TOKEN_PX + TOKEN_PX / 2,
    ],
    1,
).astype(np.float32)


def _seen(per_token: NDArray[np.int64], ids: Sequence[int], share: int) -> dict[int, NDArray[np.bool_]]:
    """By id, the tokens with at least 1/share of their pixels on it, and the token with the most."""
    seen = {}
    for i in ids:
        tokens = per_token[:, i] * share >= TOKEN_PX**2
        tokens[per_token[:, i].argmax()] = True
        seen[i] = tokens
    return seen


def dense_labels(scene: SceneView) -> DenseLabels:
    scale = np.array([IMAGE_WH[0] / scene.size_wh[0], IMAGE_WH[1] / scene.size_wh[1]] * 3, np.float32)
    count = 1 + max((o.instance_id for o in scene.objects), default=0)
    category, color, box = np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros((count, 6), np.float32)
    for o in scene.objects:
        category[o.instance_id] = 1 + CATEGORIES.index(o.category)
        color[o.instance_id] = COLORS.index(o.color)
        box[o.instance_id] = np.array([*o.box_xyxy, *o.point_xy], np.float32) * scale
    per_patch = _pixels_per_patch(scene.instance_ids, count)
    per_token = per_patch.sum(1)
    # The background wins a token only if it is almost empty.
    patch_best = per_patch[:, :, 1:].argmax(2) + 1 if count > 1 else np.zeros(per_patch.shape[:2], np.int64)
    patch_px = np.take_along_axis(per_patch, patch_best[:, :, None], 2)[:, :, 0]
    best = per_token[:, 1:].argmax(1) + 1 if count > 1 else np.zeros(IMAGE_TOKENS, np.int64)
    foreground = np.take_along_axis(per_token, best[:, None], 1)[:, 0] > _MIN_TOKEN_PX
    foreground &= best > 0
    centre = np.array([*IMAGE_WH] * 3, np.float32) / 2
    part_count = 1 + max((p.part_id for p in scene.parts), default=0)
    part_px = _pixels_per_patch(scene.part_ids, part_count).sum(1)
    return DenseLabels(
        patch_category=np.where(patch_px > _MIN_PATCH_PX, category[patch_best], 0).reshape(-1),
        category=np.where(foreground, category[best], 0),
        color=color[best],
        box=(box[best] - centre) / BOX_UNIT_PX,
        relative_box=(box[best] - np.tile(_TOKEN_CENTRE, 3)) / BOX_UNIT_PX,
        tokens=_seen(per_token, [o.instance_id for o in scene.objects if o.area_px], 16),
        part_tokens=_seen(part_px, [p.part_id for p in scene.parts if p.area_px], 16),
    )

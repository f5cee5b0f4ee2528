"""Hides a target of a clip completely for some frames, by the order of a video's frames or by a cut-out.

In rendered videos, objects are hidden or put down once. A clip plays such a video up to a frame and back, so that the
hidden object returns. In other clips, an object of another scene moves over a target, rests there, and moves on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.geometry import mask_box
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rendered.videos import StoredVideo
from reasonseg_ros.types import BoolMask, FloatArray, RgbImage

Ids = NDArray[np.uint8]

CUT_OUT_LEAST_PX = 350
_LONGEST_REST = 4
"""Maximum frames for which a cut-out rests on a target."""
_GROWTH = (1.05, 1.3, 1.6, 2.0)
"""Sizes of a cut-out relative to the target's box, tried in order until it covers the target."""
_TRIES = 4
_LARGEST_SHARE = 0.3
"""Maximum share of the image that a resting cut-out covers."""


def hiding_order(video: StoredVideo, frames: int, rng: np.random.Generator) -> list[int]:
    """Indices of `frames` frames in which a visible object becomes hidden, and may return; [] if there are none."""
    events = [event for event in video.events if event.kind in ("hidden", "put_down")]
    if not events:
        return []
    event, last = events[int(rng.integers(len(events)))], len(video.scenes) - 1
    areas = [np.count_nonzero(scene.instance_ids == event.instance_id) for scene in video.scenes]
    backwards = event.kind == "put_down"  # played backwards, the object disappears
    if backwards:
        areas.reverse()
    gone = next((i for i, area in enumerate(areas) if area == 0), 0)
    if not gone:
        return []
    begin, stride = max(0, gone - int(rng.integers(1, min(5, frames)))), int(rng.integers(1, 4))
    turn = int(rng.integers(math.ceil((gone - begin) / stride), frames + 1))
    places = [min(last, begin + stride * min(i, max(2 * turn - i, 0))) for i in range(frames)]
    return [last - place for place in places] if backwards else places


def lay_over(
    rgb: Sequence[RgbImage], ids: Sequence[Ids], target_id: int, cut_out_id: int, scenes: SceneFiles,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Move a cut-out over a target, let it rest for some frames, and move it on. Changes `rgb` and `ids` in place.

    Changes nothing if no cut-out covers the target.
    """
    begin = int(rng.integers(1, len(ids)))
    end = min(len(ids), begin + int(rng.integers(1, _LONGEST_REST + 1)))
    targets = {i: ids[i] == target_id for i in range(begin, end) if (ids[i] == target_id).any()}
    found = _covering(list(targets.values()), scenes, rng) if targets else None
    if found is None:
        return
    color, cover, corners = found
    corner_xy = dict(zip(targets, corners, strict=True))
    come, go = rng.uniform(0, 2 * np.pi, 2)
    pace_px = rng.uniform(0.5, 1.3) * max(cover.shape)
    for i, (image, labels) in enumerate(zip(rgb, ids, strict=True)):
        angle, steps = (come, begin - i) if i < begin else (go, max(0, i - end + 1))
        away = np.array([np.cos(angle), np.sin(angle)]) * pace_px * steps
        rest = corner_xy[min(targets, key=lambda known: abs(known - i))]
        paste(image, labels, color, cover, (rest + away).astype(int), cut_out_id)


def _covering(
    targets: Sequence[BoolMask], scenes: SceneFiles, rng: np.random.Generator
) -> tuple[RgbImage, FloatArray, list[NDArray[np.int_]]] | None:
    """Colours and cover of a cut-out that hides all `targets`, and its upper left corner on each; None without one."""
    boxes = [box for box in map(mask_box, targets) if box is not None]
    box_wh = np.max([box[2:] - box[:2] for box in boxes], axis=0)
    for _ in range(_TRIES):
        cut_out = whole_object(scenes, rng)
        if cut_out is None:
            continue
        fit = float((box_wh / cut_out[1].shape[::-1]).max())
        for growth in _GROWTH:
            color, cover = resized(*cut_out, max(fit * growth, 0.5))
            if cover.size > _LARGEST_SHARE * targets[0].size:
                break
            corners = [(box.reshape(2, 2).mean(0) - np.array(cover.shape[::-1]) / 2).astype(int) for box in boxes]
            if all(_covers(cover, corner, target) for corner, target in zip(corners, targets, strict=True)):
                return color, cover, corners
    return None


def _covers(cover: FloatArray, corner_xy: NDArray[np.int_], target: BoolMask) -> bool:
    over, part = _overlap(cover.shape, corner_xy, target.shape)
    left = target.copy()
    left[over] &= cover[part] <= 0.5
    return not left.any()


def paste(
    image: RgbImage, labels: Ids, color: RgbImage, cover: FloatArray, corner_xy: NDArray[np.int_], cut_out_id: int
) -> None:
    """Draw a cut-out with its upper left corner at `corner_xy`, clipped to the image. Changes `image` and `labels`."""
    over, part = _overlap(cover.shape, corner_xy, labels.shape)
    solid = cover[part] > 0.5
    image[over] = np.where(solid[..., None], color[part], image[over])
    labels[over] = np.where(solid, cut_out_id, labels[over])


def _overlap(
    shape: tuple[int, ...], corner_xy: NDArray[np.int_], image_shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the image under a cut-out, and the part of the cut-out inside the image."""
    over, part = [], []
    for length, start, room in zip(shape, corner_xy[::-1].tolist(), image_shape, strict=True):
        low = min(max(0, start), room)
        high = min(max(low, start + length), room)
        over.append(slice(low, high))
        part.append(slice(low - start, low - start + high - low))
    return (over[0], over[1]), (part[0], part[1])


def whole_object(scenes: SceneFiles, rng: np.random.Generator) -> tuple[RgbImage, FloatArray] | None:
    """Colours uint8 [h, w, 3] and cover float32 [h, w], 0 to 1, of an unoccluded object of a random scene, or None."""
    scene = scenes[int(rng.integers(len(scenes)))]
    height, width = scene.instance_ids.shape
    whole = [
        o for o in scene.objects
        if o.area_px >= CUT_OUT_LEAST_PX and o.visible_share > 0.95
        and o.box_xyxy[0] > 0 and o.box_xyxy[1] > 0 and o.box_xyxy[2] < width and o.box_xyxy[3] < height
    ]  # fmt: skip
    if not whole:
        return None
    item = whole[int(rng.integers(len(whole)))]
    x1, y1, x2, y2 = item.box_xyxy
    cover = (scene.instance_ids[y1:y2, x1:x2] == item.instance_id).astype(np.float32)
    return np.ascontiguousarray(scene.rgb[y1:y2, x1:x2]), cover


def resized(color: RgbImage, cover: FloatArray, scale: float) -> tuple[RgbImage, FloatArray]:
    """A cut-out scaled by `scale`."""
    height, width = cover.shape
    size_wh = max(4, round(width * scale)), max(4, round(height * scale))
    return cv2.resize(color, size_wh), cv2.resize(cover, size_wh)

"""Clips for the segmenter's memory: a few frames in which objects move, hide and return, with true masks.

Rendered videos give true motion. Still scenes give clips without further rendering: a window moves over them like a
camera, and cut-outs of other scenes' objects pass in front. In both, the frames are played forwards and backwards, so
that hidden objects return. All randomness comes from the given generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reasonseg_ros.geometry import mask_box
from reasonseg_ros.segmenter.sam2 import preprocess
from reasonseg_ros.training.rendered.scenes import SceneFiles, StoredScene
from reasonseg_ros.training.rendered.videos import VideoFiles
from reasonseg_ros.training.segmenter.batches import POINT_COUNT_SHARES, POINT_COUNTS, box_prompt, point_prompts, shrunk
from reasonseg_ros.training.segmenter.memory.hiding import Ids, hiding_order, lay_over, paste, resized, whole_object
from reasonseg_ros.training.skipping import Skipped
from reasonseg_ros.types import BoolMask, FloatArray, RgbImage

LEAST_TARGET_PX, GONE_PX = 60, 4
"""Minimum mask area of a usable target, and maximum area that counts as not visible, pixels."""
STILL_SHARE = 0.35
EVENT_SHARE = 0.7
PASSING_SHARES = (0.35, 0.45, 0.2)
"""Probabilities of zero, one and two cut-outs that pass through a clip."""
HIDING_FILM_SHARE = 0.5
"""Share of clips with hidden targets that use an event of a rendered video instead of a cut-out."""
_FIRST_CUT_OUT_ID = 100
_FILMS_TRIED = 20
_HIDDEN_FIRST = 0.5


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """B clips of T frames with K targets each, prompted in the first frame.

    Attributes:
        pixels: float32 [B, T, 3, S, S], normalised.
        targets: float32 [B, K, T, S/2, S/2]; between 0 and 1 on border pixels.
        boxes_xyxy: float32 [B, K, T, 4], true boxes in pixels of the S x S image; zeros if not visible.
        areas_px: float32 [B, K, T], areas of the targets in pixels of the original clip.
        prompts_xyxy: float32 [B, K, 4], boxes as imprecise as those of a reasoner, in pixels of the S x S image.
        points_xy: float32 [B, K, P, 2], or None for boxes only.
    """

    pixels: torch.Tensor
    targets: torch.Tensor
    boxes_xyxy: torch.Tensor
    areas_px: torch.Tensor
    prompts_xyxy: torch.Tensor
    points_xy: torch.Tensor | None


def clip_batch(
    videos: VideoFiles,
    scenes: SceneFiles,
    clips: int,
    targets: int,
    frames: int,
    size_px: int,
    rng: np.random.Generator,
    hiding_share: float = 0.0,
) -> ClipBatch:
    """`clips` clips of `frames` frames, with targets that change preferred.

    In `hiding_share` of the clips, some targets are completely hidden for some frames. These are preferred most.
    """
    point_count = int(rng.choice(POINT_COUNTS, p=POINT_COUNT_SHARES))
    pixels: list[list[FloatArray]] = []
    masks, boxes, areas, prompts, points = [], [], [], [], []
    complaint = f"no video or scene has an object of {LEAST_TARGET_PX} pixels to follow; render larger ones"
    skipped = Skipped(len(videos) + len(scenes), complaint)
    while len(pixels) < clips:
        rgb, ids = _clip(videos, scenes, frames, rng, hiding=rng.random() < hiding_share)
        chosen = _choose(ids, targets, rng)
        if not chosen:
            skipped.skip()
            continue
        skipped.use()
        height, width = ids[0].shape
        factors = np.array([size_px / width, size_px / height], np.float32)
        pixels.append([preprocess(frame, size_px) for frame in rgb])
        seen = [[frame == i for frame in ids] for i in chosen]
        masks.append([[shrunk(mask, size_px // 2) for mask in target] for target in seen])
        boxes.append([[_box(mask).reshape(2, 2) * factors for mask in target] for target in seen])
        areas.append([[np.count_nonzero(mask) for mask in target] for target in seen])
        prompts.append([box_prompt(target[0], rng).reshape(2, 2) * factors for target in seen])
        points.append([point_prompts(target[0], point_count, rng) * factors for target in seen])
    return ClipBatch(
        torch.from_numpy(np.array(pixels, np.float32)),
        torch.from_numpy(np.array(masks, np.float32)),
        torch.from_numpy(np.array(boxes, np.float32).reshape(clips, targets, frames, 4)),
        torch.from_numpy(np.array(areas, np.float32)),
        torch.from_numpy(np.array(prompts, np.float32).reshape(clips, targets, 4)),
        torch.from_numpy(np.array(points, np.float32)) if point_count else None,
    )


def _clip(
    videos: VideoFiles, scenes: SceneFiles, frames: int, rng: np.random.Generator, hiding: bool
) -> tuple[list[RgbImage], list[Ids]]:
    """Frames and their instance ids, through a moving window, possibly mirrored, with one change of light."""
    base = _hiding_film(videos, frames, rng) if hiding and rng.random() < HIDING_FILM_SHARE else None
    hidden_by_film = base is not None
    base = base or _frames(videos, scenes, frames, rng)
    rgb, ids = [scene.rgb.copy() for scene in base], [scene.instance_ids.copy() for scene in base]
    passing = int(rng.choice(3, p=PASSING_SHARES))
    if hiding and not hidden_by_film:
        things = _things(ids[0])
        count = int(rng.integers(2, 4))
        for number, target in enumerate(rng.permutation(things)[:count]):
            lay_over(rgb, ids, int(target), _FIRST_CUT_OUT_ID + passing + number, scenes, rng)
    for number in range(passing):
        _pass(rgb, ids, _FIRST_CUT_OUT_ID + number, scenes, rng)
    windows = _windows(ids[0].shape, frames, rng)
    mirrored = rng.random() < 0.5
    gain = (rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)).astype(np.float32)
    offset, noise = rng.uniform(-15, 15), rng.uniform(1, 6) if rng.random() < 0.3 else 0.0
    for i, window in enumerate(windows):
        light = rgb[i][window].astype(np.float32) * gain + np.float32(offset)
        if noise:
            light += rng.standard_normal(light.shape, np.float32) * np.float32(noise)
        step = -1 if mirrored else 1
        rgb[i] = np.ascontiguousarray(light.clip(0, 255).astype(np.uint8)[:, ::step])
        ids[i] = np.ascontiguousarray(ids[i][window][:, ::step])
    return rgb, ids


def _frames(videos: VideoFiles, scenes: SceneFiles, frames: int, rng: np.random.Generator) -> Sequence[StoredScene]:
    """One scene repeated, or frames of a rendered video, mostly around an event."""
    if rng.random() < STILL_SHARE:
        return [scenes[int(rng.integers(len(scenes)))]] * frames
    video = videos[int(rng.integers(len(videos)))]
    events = [event for event in video.events if rng.random() < EVENT_SHARE]
    begin = events[0].first_frame - int(rng.integers(1, frames)) if events else int(rng.integers(len(video.scenes)))
    order = _to_and_fro(begin, int(rng.integers(1, 4)) * int(rng.choice([-1, 1, 1])), frames, len(video.scenes))
    return [video.scenes[i] for i in order]


def _hiding_film(videos: VideoFiles, frames: int, rng: np.random.Generator) -> Sequence[StoredScene] | None:
    """Frames of a rendered video in which an object becomes hidden; None if the drawn videos have none."""
    for _ in range(_FILMS_TRIED):
        video = videos[int(rng.integers(len(videos)))]
        order = hiding_order(video, frames, rng)
        if order:
            return [video.scenes[i] for i in order]
    return None


def _to_and_fro(begin: int, stride: int, count: int, length: int) -> list[int]:
    """`count` indices from `begin`, reflected at both ends of 0 .. length - 1."""
    period = 2 * (length - 1)
    places = [(begin + stride * i) % period for i in range(count)]
    return [min(place, period - place) for place in places]


def _windows(shape: tuple[int, int], frames: int, rng: np.random.Generator) -> list[tuple[slice, slice]]:
    """A window that stays or moves along a line. In 40 % of the clips it is the whole image."""
    height, width = shape
    scale = 1.0 if rng.random() < 0.4 else rng.uniform(0.6, 0.95)
    size = np.array([round(height * scale), round(width * scale)])
    first = rng.uniform(size=2) * (shape - size)
    last = first if rng.random() < 0.3 else np.clip(first + rng.normal(size=2) * 25, 0, shape - size)
    share = np.linspace(0, 1, frames)[:, None]
    corners = (first + share * (last - first)).round().astype(int)
    return [(slice(top, top + size[0]), slice(left, left + size[1])) for top, left in corners]


def _pass(rgb: list[RgbImage], ids: list[Ids], cut_out_id: int, scenes: SceneFiles, rng: np.random.Generator) -> None:
    """Move another scene's object along a line over an object of this one. Changes `rgb` and `ids` in place."""
    cut_out = whole_object(scenes, rng)
    if cut_out is None:
        return
    color, cover = resized(*cut_out, rng.uniform(0.7, 1.8))
    things = np.unique(ids[0])[1:]
    height, width = ids[0].shape
    over = rng.uniform((0, 0), (width, height))
    if len(things):
        rows, columns = np.nonzero(ids[0] == rng.choice(things))
        over = np.array([columns.mean(), rows.mean()])
    angle, length_px = rng.uniform(0, 2 * np.pi), rng.uniform(30, 130)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length_px
    middle = rng.uniform(0.25, 0.75)
    for i, (image, labels) in enumerate(zip(rgb, ids, strict=True)):
        at = over + reach * (i / max(1, len(ids) - 1) - middle) * 2 - np.array(cover.shape[::-1]) / 2
        paste(image, labels, color, cover, at.astype(int), cut_out_id)


def _choose(ids: list[Ids], count: int, rng: np.random.Generator) -> list[int]:
    """`count` ids visible in the first frame, roughly those that change most first. Repeated if there are too few."""
    first = ids[0]
    things = _things(first)
    if not things:
        return []

    def change(i: int) -> float:
        here = first == i
        changes = [
            1 - np.count_nonzero(here & (frame == i)) / np.count_nonzero(here | (frame == i)) for frame in ids[1:]
        ]
        return float(max(changes)) + (_HIDDEN_FIRST if max(changes) == 1 else 0.0)

    things.sort(key=lambda i: -change(i) + rng.uniform(-0.3, 0.3))
    return [things[k % len(things)] for k in range(count)]


def _things(ids: Ids) -> list[int]:
    """Ids of the instances that are large enough to be targets."""
    return [int(i) for i in np.unique(ids) if i and np.count_nonzero(ids == i) >= LEAST_TARGET_PX]


def _box(mask: BoolMask) -> FloatArray:
    box: FloatArray | None = mask_box(mask)
    return np.zeros(4, np.float32) if box is None else box

"""Mask scores of a segmenter on unseen scenes, prompted with the true boxes and points."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.segmenter.regions import clean_mask
from reasonseg_ros.tabletop.contact_sheet import contact_sheet, outlined
from reasonseg_ros.tabletop.questions.clear_objects import MIN_AREA_SHARE, MIN_VISIBLE_SHARE
from reasonseg_ros.tabletop.scene import Scene, SceneObject
from reasonseg_ros.tabletop.world import World
from reasonseg_ros.types import BoolMask, Grounding, RgbImage

PICTURES = 12


@dataclass(frozen=True)
class ObjectScore:
    """The scores of one object: IoU of the cleaned mask with the ground truth, and the predicted IoU."""

    category: str
    prompt: str
    iou: float
    score: float


def evaluate_segmenter(
    model: str, seeds: range, size_wh: tuple[int, int], pictures: Path | None = None
) -> list[ObjectScore]:
    """Measure all objects that questions may be about, and print means by prompt and category.

    The prompts are the true box with the scene's point, and the true box alone. The true box contains the visible
    pixels. With `pictures`, also writes a contact sheet with the outlines to that folder.
    """
    segmenter, world = load_segmenter(SegmenterConfig(model=model)), World(size_wh)
    measured: list[ObjectScore] = []
    images: list[RgbImage] = []
    captions: list[str] = []
    for seed in seeds:
        scene = world.scene(seed)
        found, masks = score_objects(segmenter, scene)
        measured += found
        if len(images) < PICTURES:
            images.append(outlined(scene.rgb, masks))
            captions.append(f"seed {seed}")
    _report(measured, size_wh)
    if pictures is not None and images:
        pictures.mkdir(parents=True, exist_ok=True)
        sheet = contact_sheet(images, captions, columns=3)
        path = pictures / f"masks_{size_wh[0]}x{size_wh[1]}.png"
        cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        print(f"{path} written")
    return measured


def score_objects(segmenter: Segmenter, scene: Scene) -> tuple[list[ObjectScore], list[BoolMask]]:
    """Scores of a scene's clear objects with both prompts, and the masks from box and point."""
    least_px = MIN_AREA_SHARE * scene.instance_ids.size
    clear = [o for o in scene.objects if o.area_px >= least_px and o.visible_share >= MIN_VISIBLE_SHARE]
    features = segmenter.encode(scene.rgb)
    config = SegmenterConfig()
    measured, masks = [], []
    for prompt in ("box and point", "box"):
        scored_masks = segmenter.decode(features, [_grounding(o, prompt) for o in clear])
        for item, scored in zip(clear, scored_masks, strict=True):
            mask = clean_mask(scored.mask, config.fill_holes_share, config.remove_specks_share).mask
            iou = mask_iou(mask, scene.mask((item.instance_id,)))
            measured.append(ObjectScore(item.category, prompt, iou, scored.score))
            if prompt == "box and point":
                masks.append(mask)
    return measured, masks


def _grounding(item: SceneObject, prompt: str) -> Grounding:
    points = [item.point_xy] if prompt == "box and point" else []
    return Grounding(np.array(item.box_xyxy, np.float32), np.array(points, np.float32).reshape(-1, 2))


def _report(measured: list[ObjectScore], size_wh: tuple[int, int]) -> None:
    for prompt in ("box and point", "box"):
        chosen = [m for m in measured if m.prompt == prompt]
        ious = np.array([m.iou for m in chosen])
        error = np.abs(ious - [m.score for m in chosen]).mean()
        print(
            f"{size_wh[0]}x{size_wh[1]}, {prompt}: mean IoU {ious.mean():.4f} over {len(ious)} objects, "
            f"below 0.8: {(ious < 0.8).mean():.3f}, mean error of the predicted IoU {error:.3f}"
        )
        groups: dict[str, list[float]] = defaultdict(list)
        for m in chosen:
            groups[m.category].append(m.iou)
        for category, values in sorted(groups.items(), key=lambda pair: float(np.mean(pair[1]))):
            print(f"  {category:12s} {np.mean(values):.4f} ({len(values)})")

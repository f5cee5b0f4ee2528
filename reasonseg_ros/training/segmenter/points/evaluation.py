"""Measures how well the proposals of everything mode cover the objects of unseen scenes."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.segmenter.everything import Everything
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.tabletop.questions.clear_objects import MIN_AREA_SHARE, MIN_VISIBLE_SHARE
from reasonseg_ros.tabletop.scene import Scene
from reasonseg_ros.tabletop.world import World


@dataclass(frozen=True)
class ProposalScore:
    """The scores of one scene.

    Attributes:
        best_ious: the best IoU of a proposal with each clear object, at full resolution.
        proposals: number of proposals.
        junk: number of proposals whose IoU with every object is below 0.5.
        seconds: time of everything mode, without the encoder.
    """

    best_ious: tuple[float, ...]
    proposals: int
    junk: int
    seconds: float


def score_proposals(segmenter: Segmenter, everything: Everything, scene: Scene) -> ProposalScore:
    """Score the proposals in a scene. Clear objects are those that questions may be about."""
    least_px = MIN_AREA_SHARE * scene.instance_ids.size
    clear = [o for o in scene.objects if o.area_px >= least_px and o.visible_share >= MIN_VISIBLE_SHARE]
    features = segmenter.encode(scene.rgb)
    begun_s = time.perf_counter()
    proposals = everything.propose(features)
    seconds = time.perf_counter() - begun_s
    masks = [proposals.mask(index) for index in range(len(proposals))]
    truths = {o.instance_id: scene.mask((o.instance_id,)) for o in scene.objects}
    ious = {index: [mask_iou(mask, truth) for mask in masks] for index, truth in truths.items()}
    best = tuple(max(ious[o.instance_id], default=0.0) for o in clear)
    junk = sum(max(row, default=0.0) < 0.5 for row in zip(*ious.values(), strict=True)) if ious else len(masks)
    return ProposalScore(best, len(masks), junk, seconds)


def evaluate_everything(
    model: str, seeds: range, size_wh: tuple[int, int], grid_wh: tuple[int, int] | None = None
) -> list[ProposalScore]:
    """Score the proposals in the scenes of these seeds, and print means."""
    segmenter, world = load_segmenter(SegmenterConfig(model=model)), World(size_wh)
    everything = Everything(segmenter, grid_wh=grid_wh)
    scores = [score_proposals(segmenter, everything, world.scene(seed)) for seed in seeds]
    ious = np.array([iou for score in scores for iou in score.best_ious])
    seconds = np.array([score.seconds for score in scores])
    print(
        f"{len(scores)} scenes, {len(ious)} objects: best IoU {ious.mean():.3f}, above 0.5: {(ious > 0.5).mean():.3f}, "
        f"{np.mean([score.proposals for score in scores]):.1f} proposals, {np.mean([s.junk for s in scores]):.1f} of "
        f"nothing; {seconds.mean():.2f} s (least {seconds.min():.2f} s, median {np.median(seconds):.2f} s)"
    )
    return scores

"""Training of the point decoder, which gives the whole object for any point on it.

    reasonseg train points train --scenes DIR --run DIR --export models/tabletop/segmenter/onnx

It starts as a copy of the decoder. The encoder is the exported one, and is frozen. For points on background, only a
predicted IoU of 0 is trained, so that everything mode can drop their masks. The same command continues a stopped run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.export.points import PointDecoder, add_points_graph
from reasonseg_ros.export.sources import load_source
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.training.rendered.scenes import SceneFiles, StoredScene
from reasonseg_ros.training.segmenter.run import SegmenterRun, Stage, check_state, continue_run, train
from reasonseg_ros.training.skipping import Skipped

STAGES = (Stage("start", 30, 512, 2, 14, 5e-4), Stage("points", 170, 512, 2, 14, 5e-4, restarts=True))
OBJECT_SHARE = 0.7
"""Share of points on objects. The others are on background."""
TRUTH_PX = 128
LEAST_OBJECT_PX = 120
FAR_WEIGHT, DRAWN_WEIGHT, SCORE_WEIGHT = 0.05, 0.5, 2.0
"""Loss weights: of pixels far from the object, of predicted pixels, and of the predicted IoU."""
_TRAINED_BUFFERS = ("tokens", "kinds", "pad", "enlarge_1", "enlarge_0")


@dataclass(frozen=True, eq=False)
class PointBatch:
    """N points in one image.

    Attributes:
        maps: the encoder's outputs, float32 [1, ...].
        coords: float32 [N, 2, 2] in pixels of the model's square: the point, and SAM2's padding point.
        targets: float32 [N, T, T], the object under each point; zeros for background.
        is_object: bool [N], whether the point is on an object.
    """

    maps: tuple[Tensor, Tensor, Tensor]
    coords: Tensor
    targets: Tensor
    is_object: Tensor


def point_batch(
    maps: tuple[Tensor, Tensor, Tensor], instance_ids: np.ndarray, count: int, size_px: int, rng: np.random.Generator
) -> PointBatch | None:
    """Random points on the background and on large enough objects of `instance_ids` [H, W]; None without an object."""
    ids, areas_px = np.unique(instance_ids, return_counts=True)
    ids = ids[(ids > 0) & (areas_px > LEAST_OBJECT_PX)]
    if not len(ids):
        return None
    height, width = instance_ids.shape
    scale = np.array([size_px / width, size_px / height])
    coords, targets, is_object = np.zeros((count, 2, 2), np.float32), [], rng.random(count) < OBJECT_SHARE
    is_object[0] = True
    for index, on_object in enumerate(is_object):
        chosen = rng.choice(ids) if on_object else 0
        rows, columns = np.nonzero(instance_ids == chosen)
        pick = int(rng.integers(len(rows)))
        coords[index, 0] = (np.array([columns[pick], rows[pick]]) + 0.5) * scale - 0.5
        mask = (instance_ids == chosen).astype(np.float32) if on_object else np.zeros((height, width), np.float32)
        targets.append(cv2.resize(mask, (TRUTH_PX, TRUTH_PX), interpolation=cv2.INTER_AREA))
    return PointBatch(
        maps, torch.from_numpy(coords), torch.from_numpy(np.stack(targets)), torch.from_numpy(is_object.copy())
    )


def point_loss(logits: Tensor, scores: Tensor, targets: Tensor, is_object: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the mean IoU on objects, of logits [N, h, w] and predicted IoUs [N]."""
    logits = F.interpolate(logits[:, None], size=targets.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    with torch.no_grad():
        drawn, true = logits > 0, targets > 0.5
        iou = (drawn & true).sum((-1, -2)) / (drawn | true).sum((-1, -2)).clamp(min=1)
        near = F.max_pool2d((targets > 0.02).float()[:, None], 5, 1, 2)[:, 0]
        weight = FAR_WEIGHT + near + DRAWN_WEIGHT * drawn
        weight = weight / weight.sum((-1, -2), keepdim=True)
    entropy = (F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight).sum((-1, -2))
    chance = logits.sigmoid()
    overlap = 2 * (chance * targets).sum((-1, -2)) + 1
    dice = 1 - overlap / (chance.sum((-1, -2)) + targets.sum((-1, -2)) + 1)
    drawing = ((2 * entropy + dice) * is_object).mean()
    return drawing + SCORE_WEIGHT * (scores - iou).square().mean(), iou[is_object].mean()


class PointRun(SegmenterRun):
    """A run that trains a copy of the decoder of the segmenter `model`."""

    def __init__(self, folder: Path, stages: tuple[Stage, ...], seed: int, model: str) -> None:
        self._name = model
        exported = SegmenterConfig(model=model, backend="onnxruntime", device="cpu", threads=1, refine="none")
        self._encoder = load_segmenter(exported)
        super().__init__(folder, stages, torch.device("cpu"), seed)

    def train_step(self, scenes: Any) -> tuple[float, float]:
        stage = self.stage
        rng = np.random.default_rng([self.seed, self.stage_index, self.step])
        losses: list[Tensor] = []
        ious: list[float] = []
        complaint = f"no scene has an object of more than {LEAST_OBJECT_PX} pixels; render larger scenes"
        skipped = Skipped(len(scenes), complaint)
        while len(losses) < stage.images:
            batch = self._batch(scenes[int(rng.integers(len(scenes)))], rng)
            if batch is None:
                skipped.skip()
                continue
            skipped.use()
            count = len(batch.coords)
            labels = torch.tensor([[1, -1]] * count, dtype=torch.int32)
            embed, *fine = batch.maps
            logits, scores = self.model(embed.expand(count, -1, -1), *fine, batch.coords, labels)
            loss, iou = point_loss(logits[:, 0], scores[:, 0], batch.targets, batch.is_object)
            losses.append(loss)
            ious.append(iou.item())
        loss = torch.stack(losses).mean()
        self._learn(loss)
        return loss.item(), float(np.mean(ious))

    def _batch(self, scene: StoredScene, rng: np.random.Generator) -> PointBatch | None:
        rgb, instance_ids = scene.rgb, scene.instance_ids
        if rng.random() < 0.5:
            rgb, instance_ids = rgb[:, ::-1], instance_ids[:, ::-1]
        data = self._encoder.encode(np.ascontiguousarray(rgb)).data
        embed, fine, coarse = (torch.from_numpy(data[name]) for name in ("image_embed", "high_res_0", "high_res_1"))
        return point_batch((embed, fine, coarse), instance_ids, self.stage.targets, self.stage.size_px, rng)

    def _first_model(self) -> PointDecoder:
        checkpoint = load_source(self._name)
        decoder = PointDecoder(checkpoint.model, checkpoint.size_px, False, torch.float32)
        for name in _TRAINED_BUFFERS:
            values = getattr(decoder, name).clone()
            delattr(decoder, name)
            setattr(decoder, name, nn.Parameter(values))
        return decoder.requires_grad_(True)

    def _resized_model(self) -> PointDecoder:
        model: PointDecoder = self.model
        return model


def train_points(
    scenes: Path, folder: Path, export: Path, model: str = "tabletop-segmenter", seed: int = 0, threads: int = 1
) -> int:
    """Train, or continue the run in `folder`, and add the graph to `export`. Returns 1 if training was stopped."""
    torch.set_num_threads(threads)
    continue_run(folder, "points", STAGES, {"scenes": scenes, "model": Path(model), "seed": seed})
    run = PointRun(folder, STAGES, seed, model)
    if not train(run, [SceneFiles(scenes)]):
        print(f"stopped in stage {run.stage.name} at step {run.step}; the same command continues from there")
        return 1
    publish_points(run, export)
    return 0


def publish_points(run: PointRun, export: Path) -> None:
    """Add the graph of a run to an export's folder."""
    decoder = run.model
    for name in _TRAINED_BUFFERS:
        values = getattr(decoder, name).detach()
        delattr(decoder, name)
        decoder.register_buffer(name, values)
    add_points_graph(decoder, decoder.tokens.shape[1], export)
    print(f"{export / 'points.onnx'} written")


def export_points(folder: Path, export: Path, model: str = "tabletop-segmenter") -> None:
    """Add the graph of an unfinished run. Raises InvalidInput if `folder` has no checkpoint."""
    check_state(folder, "points")
    publish_points(PointRun(folder, STAGES, 0, model), export)

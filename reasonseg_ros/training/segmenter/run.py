"""Training of the embedded segmenter on rendered scenes, and its evaluation.

    reasonseg train segmenter train --data DIR --run DIR --out models/tabletop/segmenter
    reasonseg train segmenter evaluate --model models/tabletop/segmenter --seeds 20000000 200

First the decoder learns the meaning of boxes from ellipses. Then the whole model is trained on small images, and in two
stages on larger ones, which show thin objects. The same command continues a stopped run from its last checkpoint.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Sam2Model

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.torch_device import choose_device
from reasonseg_ros.training.continuing import begin_or_continue, check_training
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.segmenter.batches import MaskBatch, ellipse_batch, scene_batch
from reasonseg_ros.training.segmenter.model import new_model, resized_model

STATE = "state.pt"
CHECKPOINT_PERIOD_S = 180.0
REPORT_STEPS = 25
REFRESH_STEPS = 100
RAMP_STEPS = 30


@dataclass(frozen=True)
class Stage:
    """A stage of training.

    Attributes:
        images, targets: images per step, and targets per image. For videos, `images` counts clips of `frames` frames.
        size_px: side of the square images.
        peak_rate: learning rate before the decay.
        restarts: whether it starts a new cosine decay, which lasts until the next such stage.
    """

    name: str
    steps: int
    size_px: int
    images: int
    targets: int
    peak_rate: float
    restarts: bool = False
    frames: int = 1


STAGES = (
    Stage("ellipses", 250, 256, 2, 12, 6e-4),
    Stage("coarse", 2000, 256, 4, 6, 8e-4, restarts=True),
    Stage("fine", 2150, 384, 4, 6, 8e-4),
    Stage("sharp", 420, 512, 4, 6, 4e-4, restarts=True),
)


def learning_rate(stages: tuple[Stage, ...], stage_index: int, step: int) -> float:
    """The learning rate of a step: warm-up, then a cosine decay between restarts; no decay in the first stage."""
    stage = stages[stage_index]
    rate = stage.peak_rate * min(1.0, (step + 1) / RAMP_STEPS)
    if stage_index == 0:
        return rate
    bounds = [index for index, other in enumerate(stages) if other.restarts] + [len(stages)]
    first = max(index for index in bounds if index <= stage_index)
    end = min(index for index in bounds if index > stage_index)
    done = sum(other.steps for other in stages[first:stage_index]) + step
    progress = done / sum(other.steps for other in stages[first:end])
    return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def predict(model: Sam2Model, batch: MaskBatch, train_encoder: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B, K, S/4, S/4] and predicted IoUs [B, K] of a batch."""
    labels = None if batch.points_xy is None else torch.ones(batch.points_xy.shape[:3], dtype=torch.long)
    prompts = {
        "input_boxes": batch.boxes_xyxy.to(model.device),
        "input_points": None if batch.points_xy is None else batch.points_xy.to(model.device),
        "input_labels": None if labels is None else labels.to(model.device),
        "multimask_output": False,
    }
    pixels = batch.pixels.to(model.device)
    if train_encoder:
        output = model(pixel_values=pixels, **prompts)
    else:
        output = model(image_embeddings=model.get_image_embeddings(pixels), **prompts)
    return output.pred_masks[:, :, 0], output.iou_scores[:, :, 0]


def mask_loss(
    logits: torch.Tensor, scores: torch.Tensor, targets: torch.Tensor, boxes_xyxy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and the mean IoU of masks, at the resolution of the targets.

    The logits are upsampled as in inference, so that borders are sharp in spite of their lower resolution. All objects
    have equal weight. Within each, the border has the most, then the box; the rest of the image has little.
    """
    size_px = targets.shape[-1]
    logits = F.interpolate(logits, size=(size_px, size_px), mode="bilinear", align_corners=False)
    with torch.no_grad():
        # Blocks of 4 pixels, and their neighbours, that are neither all inside nor all outside.
        around = F.avg_pool2d(F.avg_pool2d(targets, 4), 3, stride=1, padding=1, count_include_pad=False)
        border = F.interpolate(((around > 0.02) & (around < 0.98)).float(), scale_factor=4)
        axis = torch.arange(size_px, device=targets.device) + 0.5
        margin = 0.1 * (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]) + 4
        low, high = boxes_xyxy[..., :2] - margin, boxes_xyxy[..., 2:] + margin
        columns = ((axis > low[..., :1]) & (axis < high[..., :1])).float()
        rows = ((axis > low[..., 1:]) & (axis < high[..., 1:])).float()
        weight = 0.03 + rows[..., :, None] * columns[..., None, :] + 3 * border
        weight = weight / weight.sum((-1, -2), keepdim=True)
        found, true = logits > 0, targets > 0.5
        iou = (found & true).sum((-1, -2)) / (found | true).sum((-1, -2)).clamp(min=1)
    entropy = (F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight).sum((-1, -2))
    chance = logits.sigmoid()
    overlap = 2 * (chance * targets).sum((-1, -2)) + 1
    dice = 1 - overlap / (chance.sum((-1, -2)) + targets.sum((-1, -2)) + 1)
    honesty = (scores - iou).square()
    return (2 * entropy + dice + 0.3 * honesty).mean(), iou.mean()


class SegmenterRun:
    """One training run, with its state in a folder as `state.pt`."""

    def __init__(self, folder: Path, stages: tuple[Stage, ...], device: torch.device, seed: int) -> None:
        self.folder, self.stages, self.device, self.seed = folder, stages, device, seed
        self.stage_index, self.step, self.seconds = 0, 0, 0.0
        self.model = self._first_model().to(device).train()
        self.optimizer = self._new_optimizer()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).exists():
            self._resume()

    @property
    def stage(self) -> Stage:
        return self.stages[self.stage_index]

    def train_step(self, scenes: Any) -> tuple[float, float]:
        """Train one step; returns loss and IoU. The batch depends only on seed, stage, step and available scenes."""
        stage = self.stage
        rng = np.random.default_rng([self.seed, self.stage_index, self.step])
        first = self.stage_index == 0
        make = ellipse_batch if first else scene_batch
        batch = make(scenes, stage.images, stage.targets, stage.size_px, rng)
        logits, scores = predict(self.model, batch, train_encoder=not first)
        loss, iou = mask_loss(logits, scores, batch.targets.to(self.device), batch.boxes_xyxy.to(self.device))
        self._learn(loss)
        return loss.item(), iou.item()

    def _learn(self, loss: torch.Tensor) -> None:
        """One step of the optimizer."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.stages, self.stage_index, self.step)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1

    def report(self) -> str:
        """Additional metrics for the log, ending with a space, or empty."""
        return ""

    def next_stage(self) -> bool:
        """Enter the next stage with the same weights; False after the last one."""
        if self.stage_index + 1 == len(self.stages):
            return False
        self.stage_index, self.step = self.stage_index + 1, 0
        self.model = self._resized_model().train()
        self.optimizer = self._new_optimizer()
        return True

    def save(self) -> None:
        state = {
            "stage_index": self.stage_index,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
        }
        with whole_file(self.folder / STATE, "wb") as file:
            torch.save(state, file)

    def _resume(self) -> None:
        state = torch.load(self.folder / STATE, weights_only=True, map_location="cpu")
        self.stage_index, self.step, self.seconds = state["stage_index"], state["step"], state["seconds"]
        self.model = self._resized_model().train()
        self.model.load_state_dict(state["model"])
        self.optimizer = self._new_optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])

    def _first_model(self) -> Any:
        return new_model(self.stage.size_px, self.seed)

    def _resized_model(self) -> Any:
        return resized_model(self.model, self.stage.size_px)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.02)


class Source(Protocol):
    """Training data; it may grow during training."""

    def refresh(self) -> None: ...

    def __len__(self) -> int: ...


def train(run: SegmenterRun, sources: Sequence[Source]) -> bool:
    """Train to the end, or until SIGTERM or Ctrl-C; returns whether it reached the end.

    Writes a checkpoint in both cases. The steps take their scenes from the sources in turn.
    """
    stopped: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.signal(number, lambda caught, _: stopped.append(caught)) for number in numbers]
    saved_s = started_s = time.monotonic()
    seconds_before, loss_mean, iou_mean = run.seconds, math.nan, math.nan
    while not stopped:
        if run.step == run.stage.steps and not run.next_stage():
            break
        if run.step % REFRESH_STEPS == 0:
            for source in sources:
                source.refresh()
        loss, iou = run.train_step(sources[run.step % len(sources)])
        now_s = time.monotonic()
        run.seconds = seconds_before + now_s - started_s
        loss_mean = loss if math.isnan(loss_mean) else 0.95 * loss_mean + 0.05 * loss
        iou_mean = iou if math.isnan(iou_mean) else 0.95 * iou_mean + 0.05 * iou
        if run.step % REPORT_STEPS == 0 or run.step == 1:
            print(
                f"{run.stage.name} {run.step}/{run.stage.steps} scenes {sum(map(len, sources))} loss {loss_mean:.3f} "
                f"iou {iou_mean:.3f} {run.report()}{run.seconds:.0f} s",
                flush=True,
            )
        if now_s - saved_s > CHECKPOINT_PERIOD_S:
            run.save()
            saved_s = now_s
    run.save()
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    return not stopped


def publish(model: Sam2Model, folder: Path) -> None:
    """Write the checkpoint in the published layout, with its model card."""
    model.save_pretrained(folder)
    card = (
        "kind: segmenter\nsource: .\nlicence: Apache-2.0\n"
        "multimask: false  # only the single mask is trained\nrefine: edges\n"
    )
    (folder / "card.yaml").write_text(card)


def train_segmenter(
    data: Sequence[Path], folder: Path, out: Path, seed: int = 0, device: str = "auto", threads: int = 1
) -> int:
    """Train, or continue the run in `folder`, and write the model to `out`. Returns 1 if training was stopped."""
    torch.set_num_threads(threads)
    continue_run(folder, "segmenter", STAGES, {"data": data, "seed": seed})
    run = SegmenterRun(folder, STAGES, choose_device(device), seed)
    if not train(run, [SceneFiles(chunks) for chunks in data]):
        print(f"stopped in stage {run.stage.name} at step {run.step}; the same command continues from there")
        return 1
    publish(run.model, out)
    print(f"{out} written")
    return 0


def export_run(folder: Path, out: Path) -> None:
    """Write the model of an unfinished run. Raises InvalidInput if `folder` has no checkpoint."""
    check_state(folder, "segmenter")
    publish(SegmenterRun(folder, STAGES, torch.device("cpu"), 0).model, out)


def continue_run(folder: Path, training: str, stages: Sequence[Stage], settings: Mapping[str, Any]) -> None:
    """Keep the settings of a run in its folder. Raises InvalidInput if that holds another training."""
    planned = {**settings, "stages": [asdict(stage) for stage in stages]}
    begin_or_continue(folder, training, planned, (folder / STATE).exists())


def check_state(folder: Path, training: str) -> None:
    """Raises InvalidInput if the folder has no checkpoint of such a training."""
    if not (folder / STATE).is_file():
        raise InvalidInput(f"no {STATE} in {folder}; train first")
    check_training(folder, training)

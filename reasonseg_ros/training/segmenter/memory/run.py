"""Training of the embedded segmenter's memory on tabletop videos, and its evaluation.

    reasonseg train segmenter --video train --videos DIR --scenes DIR --image DIR --run DIR --out DIR

The image part is frozen. The memory is trained on short clips of small images, where steps are cheap, then on longer
ones, then at full size, and finally on small images with targets that become hidden. The finished weights are the mean
of those before and after this last stage. The same command continues a stopped run from its last checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from transformers import Sam2VideoModel
from transformers.utils import SAFE_WEIGHTS_NAME

from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.segmenter.sam2 import load_sam2
from reasonseg_ros.torch_device import choose_device
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rendered.videos import VideoFiles
from reasonseg_ros.training.segmenter.memory.clips import GONE_PX, LEAST_TARGET_PX, ClipBatch, clip_batch
from reasonseg_ros.training.segmenter.memory.model import TRAINED, new_video_model, resized_video_model
from reasonseg_ros.training.segmenter.memory.unroll import (
    Decoded,
    Remembered,
    encode,
    followed_frame,
    prompted_frame,
    recall,
    remember,
)
from reasonseg_ros.training.segmenter.run import (
    SegmenterRun,
    Stage,
    check_state,
    continue_run,
    mask_loss,
    publish,
    train,
)


@dataclass(frozen=True)
class MemoryStage(Stage):
    """A stage of training the memory.

    Attributes:
        forced: share of steps with teacher forcing, in which the memory gets the true visibility. In the others it gets
            the predicted one, as in inference.
        hiding: share of clips in which some targets are hidden for some frames.
        kept: whether the final weights of the stage are averaged into the finished model.
    """

    forced: float = 0.0
    hiding: float = 0.0
    kept: bool = False


STAGES = (
    MemoryStage("short", 150, 256, 2, 5, 1e-3, frames=3, forced=1.0),
    MemoryStage("long", 560, 256, 2, 5, 1e-3, restarts=True, frames=5),
    MemoryStage("sharp", 160, 512, 1, 5, 6e-4, restarts=True, frames=5, kept=True),
    MemoryStage("hiding", 350, 256, 2, 5, 1e-3, restarts=True, frames=7, forced=0.4, hiding=0.8),
)
KEPT_SHARE = 0.5
"""Share of the kept weights in the finished ones. Training on hidden targets loses some of the earlier quality; the
mean of both keeps most of both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022)."""
SEEN_WEIGHT, HIDDEN_SHARE = 1.0, 0.4
"""Weight of the visibility loss relative to the mask loss, and the share of hidden targets in it, regardless of their
number."""
GHOST_WEIGHT = 0.2
"""Weight of mask area predicted for hidden targets."""
GHOST_LEAST_PX, MOST_GHOST = 16, 8.0
LATE_SHARE, LATEST_AGO = 0.4, 120
"""Probability that the prompt's age is increased beyond the clip, and the maximum, in frames."""


class ClipSource:
    """Videos and still scenes, the sources of clips."""

    def __init__(self, videos: Path, scenes: Path) -> None:
        self.videos, self.scenes = VideoFiles(videos), SceneFiles(scenes)

    def refresh(self) -> None:
        self.videos.refresh()

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True, eq=False)
class Unrolled:
    """Results of a batch of clips: the loss, the mean IoU of tracked masks, and the visibility accuracy.

    `reported_seen` and `reported_hidden` are accuracies on visible and on hidden targets, NaN without any.
    """

    loss: Tensor
    iou: float
    reported_seen: float
    reported_hidden: float


def unrolled_loss(model: Sam2VideoModel, batch: ClipBatch, forced: bool, later: int = 0) -> Unrolled:
    """Track the targets of clips, and compute the loss of all frames after the first.

    With `forced` (teacher forcing), the memory gets the true visibility. `later` is added to the prompt's age.
    """
    targets, frames = batch.targets.shape[1:3]
    areas_px = batch.areas_px.flatten(0, 1).to(model.device)
    in_sight, clear, hidden = areas_px > GONE_PX, areas_px[:, 1:] >= LEAST_TARGET_PX, areas_px[:, 1:] == 0
    masks = batch.targets.flatten(0, 1).to(model.device)
    features = encode(model, batch.pixels.to(model.device), targets)
    points = None if batch.points_xy is None else batch.points_xy.flatten(0, 1).to(model.device)
    found = prompted_frame(model, features[0], batch.prompts_xyxy.flatten(0, 1).to(model.device), points)
    first = remember(model, features[0], found, torch.ones_like(in_sight[:, 0]), prompted=True)
    results: list[Decoded] = []
    recent: list[Remembered] = []
    for t in range(1, frames):
        found = followed_frame(model, features[t], recall(model, features[t], first, t + later, recent))
        results.append(found)
        recent.insert(0, remember(model, features[t], found, in_sight[:, t] if forced else found.score > 0, False))
    scores, logits, iou = (
        torch.stack([getattr(result, name) for result in results], 1) for name in ("score", "logits", "iou")
    )
    loss, mean_iou = scores.new_zeros(()), torch.ones(())
    for kind, truth, share in ((clear, 1.0, 1 - HIDDEN_SHARE), (hidden, 0.0, HIDDEN_SHARE)):
        if kind.any():
            visibility_loss = F.binary_cross_entropy_with_logits(scores[kind], torch.full_like(scores[kind], truth))
            loss = loss + SEEN_WEIGHT * share * visibility_loss
    if clear.any():
        # Returning targets count twice: they are rare, and the memory of the last frames does not help.
        returned = clear & (hidden.cumsum(1) > 0)
        rows = torch.cat([clear.nonzero(), returned.nonzero()]).unbind(1)
        boxes = batch.boxes_xyxy.flatten(0, 1).to(model.device)[:, 1:][rows] / 2
        drawn, mean_iou = mask_loss(logits[rows][None], iou[rows][None], masks[:, 1:][rows][None], boxes[None])
        loss = loss + drawn
    if hidden.any():
        # Hidden targets should have no mask. The loss is clamped relative to the target's own area.
        whole_px = (masks[:, :1].sum((-1, -2)) / 4).clamp(min=GHOST_LEAST_PX).expand(hidden.shape)[hidden]
        ghosts = F.softplus(logits[hidden]).sum((-1, -2)) / whole_px
        loss = loss + GHOST_WEIGHT * ghosts.clamp(max=MOST_GHOST).mean()
    right_seen, right_hidden = (scores[clear] > 0).float().mean(), (scores[hidden] <= 0).float().mean()
    return Unrolled(loss, mean_iou.item(), right_seen.item(), right_hidden.item())


class MemoryRun(SegmenterRun):
    """A run that trains the memory of an existing image segmenter."""

    def __init__(
        self, folder: Path, stages: tuple[MemoryStage, ...], device: torch.device, seed: int, image_model: Path
    ) -> None:
        self.image_model = image_model
        self.reported_seen, self.reported_hidden = 1.0, 0.0
        super().__init__(folder, stages, device, seed)

    @property
    def stage(self) -> MemoryStage:
        stage = self.stages[self.stage_index]
        assert isinstance(stage, MemoryStage)
        return stage

    def train_step(self, scenes: Any) -> tuple[float, float]:
        stage = self.stage
        rng = np.random.default_rng([self.seed, self.stage_index, self.step])
        batch = clip_batch(
            scenes.videos, scenes.scenes, stage.images, stage.targets, stage.frames, stage.size_px, rng, stage.hiding
        )
        later = int(rng.integers(LATEST_AGO)) if rng.random() < LATE_SHARE else 0
        found = unrolled_loss(self.model, batch, rng.random() < stage.forced, later)
        self._learn(found.loss)
        for name in ("reported_seen", "reported_hidden"):
            before, now = getattr(self, name), getattr(found, name)
            setattr(self, name, before if math.isnan(now) else 0.95 * before + 0.05 * now)
        return found.loss.item(), found.iou

    def next_stage(self) -> bool:
        if self.stage.kept:
            with whole_file(self._kept_path, "wb") as file:
                torch.save(self.model.state_dict(), file)
        return super().next_stage()

    def finished_model(self) -> Sam2VideoModel:
        """The current model, at the largest size of all stages, averaged with the kept weights if there are any."""
        model = resized_video_model(self.model, max(stage.size_px for stage in self.stages))
        if self._kept_path.is_file():
            kept = torch.load(self._kept_path, weights_only=True)
            with torch.no_grad():
                for name, weight in model.state_dict().items():
                    if name.startswith(TRAINED):
                        weight.lerp_(kept[name].to(weight.device), KEPT_SHARE)
        return model

    @property
    def _kept_path(self) -> Path:
        return self.folder / "kept.pt"

    def report(self) -> str:
        return f"visible recognised {self.reported_seen:.3f} hidden recognised {self.reported_hidden:.3f} "

    def _first_model(self) -> Sam2VideoModel:
        image = load_sam2(
            str(self.image_model.resolve()), device=torch.device("cpu"), dtype=torch.float32, offline=True
        )
        return new_video_model(image, self.stage.size_px, self.seed)

    def _resized_model(self) -> Sam2VideoModel:
        return resized_video_model(self.model, self.stage.size_px)


def publish_video(model: Sam2VideoModel, folder: Path) -> None:
    """Write the checkpoint with its card. The memory's weights are float16, the image part is unchanged."""
    publish(model, folder)
    weights = {
        name: (weight.half() if name.startswith(TRAINED) else weight).contiguous()
        for name, weight in model.state_dict().items()
    }
    save_file(weights, folder / SAFE_WEIGHTS_NAME, {"format": "pt"})


def train_memory(
    videos: Path,
    scenes: Path,
    image: Path,
    folder: Path,
    out: Path,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
) -> int:
    """Train, or continue the run in `folder`, and write the model to `out`. Returns 1 if training was stopped."""
    torch.set_num_threads(threads)
    continue_run(folder, "memory", STAGES, {"videos": videos, "scenes": scenes, "image": image, "seed": seed})
    run = MemoryRun(folder, STAGES, choose_device(device), seed, image)
    if not train(run, [ClipSource(videos, scenes)]):
        print(f"stopped in stage {run.stage.name} at step {run.step}; the same command continues from there")
        return 1
    publish_video(run.finished_model(), out)
    print(f"{out} written")
    return 0


def export_memory(image: Path, folder: Path, out: Path) -> None:
    """Write the model of an unfinished run. Raises InvalidInput if `folder` has no checkpoint."""
    check_state(folder, "memory")
    publish_video(MemoryRun(folder, STAGES, torch.device("cpu"), 0, image).finished_model(), out)

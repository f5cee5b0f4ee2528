"""The settings of a training run of the reasoner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros.errors import InvalidInput


@dataclass(frozen=True)
class ReasonerPlan:
    """A training run.

    Attributes:
        scenes: folder of rendered chunks (see `training.rendered.scenes`).
        out: folder of the exported model, in the published layout.
        work: folder of the checkpoint.
        minutes: total training time, resumed runs included; ignored if `steps` is given.
        dense_share: share of the budget without questions.
        decay_share: final share of the budget, in which the learning rate decays.
        batch: images per process and step.
        videos: folder of rendered videos (see `training.rendered.videos`); None trains on still scenes only.
        video_batch: videos per process and step.
        start: the initial weights: `reasoner.pt` of an earlier run, or the folder of a trained checkpoint. A checkpoint
            has no training heads, so it is trained without them and without the dense stage.
        thoughts: whether to train thoughts before the answer.
        phrasing: sentences to train on, one of `sentences.TO_TRAIN_ON`.
        keep_vision: freeze the vision model. Its outputs for videos are then cached, which halves the time.
    """

    scenes: Path
    out: Path
    work: Path
    minutes: float = 100.0
    steps: int = 0
    dense_share: float = 0.15
    decay_share: float = 0.3
    batch: int = 16
    processes: int = 1
    matrix_rate: float = 0.02
    rate: float = 3e-3
    averaging: float = 0.995
    seed: int = 0
    checkpoint_s: float = 180.0
    export_s: float = 600.0
    threads: int = 1
    videos: Path | None = None
    video_batch: int = 6
    start: Path | None = None
    keep_vision: bool = False
    phrasing: str = "train"
    thoughts: bool = True

    def __post_init__(self) -> None:
        if self.videos and not self.thoughts:
            raise InvalidInput("videos need thoughts; leave out --videos or --no-thoughts")

"""Training batches, determined by seed, step and process."""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reasonseg_ros.training.reasoner.examples import Example, ExampleEncoder, Packed, draw_question, pack
from reasonseg_ros.training.reasoner.images import DenseLabels, SceneView, dense_labels, disturb, view
from reasonseg_ros.training.reasoner.losses import DenseTargets
from reasonseg_ros.training.reasoner.video_examples import VideoEncoder, VideoView, event_labels, video_view
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rendered.videos import VideoFiles
from reasonseg_ros.training.skipping import Skipped

TEXT_LENGTH = 224
VIDEO_TEXT_LENGTH = 160
_TRIES = 10
_FRAME_SHARE = 0.25
"""Share of still images that are frames of videos, so that there are also questions about single frames."""


@dataclass(frozen=True, eq=False)
class Texts:
    """`Packed` of a batch as tensors with a leading batch axis."""

    tokens: Tensor
    position: Tensor
    follows: Tensor
    question: Tensor
    looks: Tensor


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """Images, float32 [B, H, W, 3] in 0 to 1, with labels and questions. `texts` is None in the first stage."""

    images: Tensor
    dense: DenseTargets
    texts: Texts | None

    def to(self, device: torch.device) -> SceneBatch:
        return SceneBatch(self.images.to(device), _moved(self.dense, device), self.texts and _moved(self.texts, device))


VideoKey = tuple[int, bool]


@dataclass(frozen=True, eq=False)
class VideoBatch:
    """Videos as a `SceneBatch` of their concatenated frames, with one row of questions per video.

    Attributes:
        happened: float32 [videos, frames * IMAGE_TOKENS, kinds of events], see `event_labels`.
        keys: number of each video, and whether it is mirrored. Videos that `draw_videos` was given as known have no
            images.
    """

    frames: SceneBatch
    happened: Tensor
    keys: tuple[VideoKey, ...]

    def to(self, device: torch.device) -> VideoBatch:
        return VideoBatch(self.frames.to(device), self.happened.to(device), self.keys)


class Batches:
    """Draws batches of still images from `files` and, with `video_encoder`, of `videos`."""

    def __init__(
        self,
        files: SceneFiles,
        encoder: ExampleEncoder,
        pad: int,
        size: int,
        seed: int,
        videos: VideoFiles | None = None,
        video_encoder: VideoEncoder | None = None,
        phrasing: str = "train",
    ) -> None:
        self._phrasing = phrasing
        self._files, self._encoder, self._pad, self._size, self._seed = files, encoder, pad, size, seed
        self._videos, self._video_encoder = videos, video_encoder

    def draw(self, step: int, process: int, with_texts: bool) -> SceneBatch:
        """The batch of still images of a step."""
        seed = (self._seed, step, process)
        arrays, rng = np.random.default_rng(seed), random.Random(f"{seed}")
        views, images, labels, texts = [], [], [], []
        for index in arrays.integers(len(self._files), size=self._size):
            stored = self._files[index]
            if self._videos and arrays.random() < _FRAME_SHARE:
                stored = rng.choice(self._videos[int(arrays.integers(len(self._videos)))].scenes)
            scene = view(stored, mirrored=bool(arrays.random() < 0.5))
            views.append(scene)
            images.append(disturb(scene.rgb, arrays))
            labels.append(dense_labels(scene))
            if with_texts:
                texts.append(self._questions(scene, labels[-1], rng))
        dense = DenseTargets(**{f.name: _stacked(labels, f.name) for f in fields(DenseTargets)})
        packed = Texts(**{f.name: _stacked(texts, f.name) for f in fields(Texts)}) if with_texts else None
        return SceneBatch(torch.from_numpy(np.stack(images)), dense, packed)

    def draw_videos(self, step: int, process: int, size: int, known: Container[VideoKey] = ()) -> VideoBatch:
        """`size` videos with their questions, without images for the `known` ones.

        A video without a clear question is skipped. Raises InvalidInput if no video has one.
        """
        assert self._videos and self._video_encoder
        seed = (self._seed, step, process, 1)
        arrays, rng = np.random.default_rng(seed), random.Random(f"{seed}")
        images, labels, happened, keys = [], [], [], []
        texts: list[Packed] = []
        skipped = Skipped(len(self._videos), "no video has a clear question; render more videos")
        while len(texts) < size:
            key = int(arrays.integers(len(self._videos))), bool(arrays.random() < 0.5)
            video = video_view(self._videos[key[0]], mirrored=key[1])
            own = [dense_labels(scene) for scene in video.scenes]
            examples = self._video_examples(video, own, rng)
            if not examples:
                skipped.skip()
                continue
            skipped.use()
            light = int(arrays.integers(1 << 32))  # the same camera, so the same augmentation in all frames
            if key not in known:
                images += [disturb(scene.rgb, np.random.default_rng(light)) for scene in video.scenes]
            keys.append(key)
            labels += own
            happened.append(event_labels(video, own))
            texts.append(pack(examples, VIDEO_TEXT_LENGTH, self._pad, len(own)))
        dense = DenseTargets(**{f.name: _stacked(labels, f.name) for f in fields(DenseTargets)})
        packed = Texts(**{f.name: _stacked(texts, f.name) for f in fields(Texts)})
        frames = SceneBatch(torch.from_numpy(np.stack(images)) if images else torch.zeros(0), dense, packed)
        return VideoBatch(frames, torch.from_numpy(np.stack(happened)), tuple(keys))

    def _video_examples(self, video: VideoView, labels: list[DenseLabels], rng: random.Random) -> list[Example]:
        """The first questions about the video that fit into the row."""
        assert self._video_encoder
        chosen, room = [], VIDEO_TEXT_LENGTH
        for example in self._video_encoder.examples(video, labels, rng):
            room -= len(example)
            if room < 0:
                break
            chosen.append(example)
        return chosen

    def _questions(self, scene: SceneView, labels: DenseLabels, rng: random.Random) -> Packed:
        """Different questions, up to the first that does not fit. Trying shorter ones would make long ones rare."""
        examples, texts, room = [], set(), TEXT_LENGTH
        for _ in range(_TRIES):
            question = draw_question(scene, rng, self._phrasing)
            if question is None or question.text in texts:
                continue
            example = self._encoder.example(scene, labels, question, rng)
            room -= len(example)
            if room < 0:
                break
            texts.add(question.text)
            examples.append(example)
        return pack(examples, TEXT_LENGTH, self._pad)


def _stacked(items: list[DenseLabels] | list[Packed], name: str) -> Tensor:
    return torch.from_numpy(np.stack([getattr(item, name) for item in items]))


def _moved(tensors: Any, device: torch.device) -> Any:
    return type(tensors)(**{f.name: getattr(tensors, f.name).to(device) for f in fields(tensors)})

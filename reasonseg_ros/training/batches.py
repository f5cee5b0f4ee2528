"""Batches for training, the same for the same seed, step and process."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reasonseg_ros.training.data import SceneFiles
from reasonseg_ros.training.examples import Encoder, Packed, draw_question, pack
from reasonseg_ros.training.images import DenseLabels, View, dense_labels, disturb, view
from reasonseg_ros.training.losses import DenseTargets

TEXT_LENGTH = 224
_TRIES = 10


@dataclass(frozen=True, eq=False)
class Texts:
    """`Packed` of a batch as tensors with a leading batch axis."""

    tokens: Tensor
    position: Tensor
    follows: Tensor
    question: Tensor
    looks: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Images float32 [B, H, W, 3] in 0 to 1, what they show, and the questions about them (None in the first stage)."""

    images: Tensor
    dense: DenseTargets
    texts: Texts | None

    def to(self, device: torch.device) -> Batch:
        return Batch(self.images.to(device), _moved(self.dense, device), self.texts and _moved(self.texts, device))


class Batches:
    def __init__(self, files: SceneFiles, encoder: Encoder, pad: int, size: int, seed: int) -> None:
        self._files, self._encoder, self._pad, self._size, self._seed = files, encoder, pad, size, seed

    def draw(self, step: int, process: int, with_texts: bool) -> Batch:
        """The batch of a step; new chunks on disk are taken in as they appear."""
        seed = (self._seed, step, process)
        arrays, rng = np.random.default_rng(seed), random.Random(f"{seed}")
        views, images, labels, texts = [], [], [], []
        for index in arrays.integers(len(self._files), size=self._size):
            scene = view(self._files[index], mirrored=bool(arrays.random() < 0.5))
            views.append(scene)
            images.append(disturb(scene.rgb, arrays))
            labels.append(dense_labels(scene))
            if with_texts:
                texts.append(self._questions(scene, labels[-1], rng))
        dense = DenseTargets(**{f.name: _stacked(labels, f.name) for f in fields(DenseTargets)})
        packed = Texts(**{f.name: _stacked(texts, f.name) for f in fields(Texts)}) if with_texts else None
        return Batch(torch.from_numpy(np.stack(images)), dense, packed)

    def _questions(self, scene: View, labels: DenseLabels, rng: random.Random) -> Packed:
        """Different questions until one does not fit any more: going on to shorter ones would make long ones rare."""
        examples, texts, room = [], set(), TEXT_LENGTH
        for _ in range(_TRIES):
            question = draw_question(scene, rng)
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

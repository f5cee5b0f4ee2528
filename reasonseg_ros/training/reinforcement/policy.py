"""The embedded reasoner as a policy: samples groups of answers, and computes the log probabilities of their tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor, DynamicCache
from transformers.utils.logging import disable_progress_bar

from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.chat.prompts import normalise_question
from reasonseg_ros.reasoner.image_size import resize_rgb
from reasonseg_ros.reasoner.local.decoding import Prefill, cache_argument
from reasonseg_ros.reasoner.local.decoding_step import DecodingStep, token_entropies
from reasonseg_ros.training.reasoner.examples import IGNORED, ExampleEncoder
from reasonseg_ros.training.reasoner.forward import PackedForward
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.reasoner.tokenizer import END, PAD
from reasonseg_ros.training.reasoner.video_examples import video_prefix
from reasonseg_ros.types import RgbImage

MOST_TOKENS = 160
_MOST_IMAGES = 4096
_LENGTH_STEP = 64
"""Rows are padded to multiples of this, because a kernel is cached for each length, which would fill the memory."""


class SamplingStep(DecodingStep):
    """Samples the next token; at temperature 0 it takes the most likely one."""

    temperature = 1.0
    generator: torch.Generator | None = None

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        if not bool(torch.isfinite(logits).all()):
            raise ModelError("the policy gives logits that are not finite; lower the learning rate")
        if self.temperature == 0:
            return logits.argmax(-1), token_entropies(logits)
        uniform = torch.rand(logits.shape, generator=self.generator).clamp_(1e-10, 1 - 1e-7)
        return (logits / self.temperature - (-uniform.log()).log()).argmax(-1), token_entropies(logits)


@dataclass(frozen=True, eq=False)
class QuestionBatch:
    """Questions, each with one RGB image or the frames of a video. All have the same number of images."""

    images: Sequence[Sequence[RgbImage]]
    questions: Sequence[str]

    @property
    def frames(self) -> int:
        return len(self.images[0])

    def part(self, numbers: Sequence[int]) -> QuestionBatch:
        return QuestionBatch([self.images[i] for i in numbers], [self.questions[i] for i in numbers])


class EmbeddedPolicy:
    """A checkpoint of the embedded reasoner. Its vision model is frozen."""

    def __init__(self, folder: Path, image_tokens: dict[bytes, Tensor] | None = None) -> None:
        """`image_tokens` is a cache to share with another policy that has the same vision model."""
        self.image_tokens = {} if image_tokens is None else image_tokens
        disable_progress_bar()
        self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self.processor.tokenizer.padding_side = "left"
        self.model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True).float().eval()
        for parameter in self.model.model.visual.parameters():
            parameter.requires_grad_(False)
        self._encoder = ExampleEncoder(self.processor.tokenizer)
        self._forwards: dict[int, PackedForward] = {}
        self._step = SamplingStep(self.model)
        self._end, self._pad = (self.processor.tokenizer.convert_tokens_to_ids(word) for word in (END, PAD))

    def _forward(self, frames: int) -> PackedForward:
        """The forward pass for questions with that many images."""
        if frames not in self._forwards:
            prefix = self._encoder.prefix if frames == 1 else video_prefix(self._encoder, frames)
            self._forwards[frames] = PackedForward(self.model, prefix)
        return self._forwards[frames]

    def _seen(self, asked: QuestionBatch) -> Tensor:
        """Image tokens of each question's images, [B, frames * IMAGE_TOKENS, width], cached by image."""
        rgbs = [rgb for images in asked.images for rgb in images]
        names = [hashlib.blake2b(np.ascontiguousarray(rgb).tobytes(), digest_size=16).digest() for rgb in rgbs]
        if len(self.image_tokens) > _MOST_IMAGES:
            self.image_tokens.clear()
        fresh = {name: rgb for name, rgb in zip(names, rgbs, strict=True) if name not in self.image_tokens}
        if fresh:
            images = np.stack([resize_rgb(np.ascontiguousarray(rgb), IMAGE_WH) for rgb in fresh.values()])
            with torch.no_grad():
                _, seen = self._forward(asked.frames).see(torch.from_numpy(images).float() / 255)
            self.image_tokens.update(zip(fresh, seen.clone(), strict=True))
        tokens = torch.stack([self.image_tokens[name] for name in names])
        return tokens.view(len(asked.images), -1, tokens.shape[-1])

    @torch.no_grad()
    def _prefill(self, asked: QuestionBatch) -> Prefill:
        """The prefill of the prompts, padded on the left."""
        forward, language = self._forward(asked.frames), self.model.model.language_model
        prompts = [self._encoder.asked(normalise_question(question), "", None) for question in asked.questions]
        longest = max(map(len, prompts))
        padding = [longest - len(prompt) for prompt in prompts]
        tokens, position, attended = [], [], []
        for prompt, missing in zip(prompts, padding, strict=True):
            behind = forward.question_position + torch.arange(len(prompt)).expand(3, -1)
            tokens.append(torch.cat([torch.full((missing,), self._pad), forward.prefix, torch.tensor(prompt)]))
            position.append(torch.cat([torch.ones(3, missing).long(), forward.prefix_position, behind], 1))
            attended.append(torch.arange(len(tokens[-1])) >= missing)
        rows, mask = torch.stack(tokens), torch.stack(attended)
        embedded = language.embed_tokens(rows)
        for row, missing, image in zip(embedded, padding, self._seen(asked), strict=True):
            row[forward.image_at + missing] = image
        cache = DynamicCache(config=self.model.config.text_config)
        hidden = language(
            inputs_embeds=embedded, attention_mask=mask.long(), position_ids=torch.stack(position, 1),
            **{cache_argument(self.model): cache}, use_cache=True,
        ).last_hidden_state  # fmt: skip
        return Prefill(
            rows,
            None if bool(mask.all()) else mask,
            [(layer.keys, layer.values) for layer in cache.layers],
            forward.question_position + torch.tensor([len(prompt) for prompt in prompts]),
            self.model.lm_head(hidden[:, -1]).float(),
        )

    @torch.no_grad()
    def sampled(self, asked: QuestionBatch, group: int, temperature: float, seed: int) -> list[list[list[int]]]:
        """Tokens of `group` sampled answers per question, including the end token unless they are cut off."""
        read = self._prefill(asked)
        self._step.temperature = temperature
        self._step.generator = torch.Generator().manual_seed(seed)

        def repeated(values: Tensor) -> Tensor:
            return values.repeat_interleave(group, 0)

        self._step.begin(
            repeated(read.tokens),
            None if read.attended is None else repeated(read.attended),
            [(repeated(keys), repeated(values)) for keys, values in read.layers],
            repeated(read.position),
        )
        tokens, _ = self._step.choose(repeated(read.logits))
        written, done = [tokens], tokens == self._end
        while len(written) < MOST_TOKENS and not bool(done.all()):
            tokens, _ = self._step.next(tokens)
            written.append(tokens)
            done = done | (tokens == self._end)
        rows = [self._until_end(row) for row in torch.stack(written, 1).tolist()]
        return [rows[start : start + group] for start in range(0, len(rows), group)]

    def _until_end(self, row: list[int]) -> list[int]:
        return row[: row.index(self._end) + 1] if self._end in row else row

    def tokens(self, text: str) -> list[int]:
        """Tokens of a complete answer, including the end token."""
        return [*self._encoder.tokens(text), self._end]

    def text(self, tokens: Sequence[int]) -> str:
        text: str = self.processor.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def log_probabilities(
        self, asked: QuestionBatch, answers: Sequence[Sequence[list[int]]]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log probabilities [T], entropies in nats [T] and index of the answer [T], for each token of the answers.

        `answers` has a group for each question. The tokens are in the order of the questions.
        """
        image_tokens = self._seen(asked)
        prompts = [self._encoder.asked(normalise_question(question), "", None) for question in asked.questions]
        longest = max(len(p) + sum(map(len, group)) for p, group in zip(prompts, answers, strict=True))
        length = longest + -longest % _LENGTH_STEP
        rows = [_packed(prompt, group, length, self._pad) for prompt, group in zip(prompts, answers, strict=True)]
        tokens, position, question_number, follows = (
            torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)
        )
        states, _, _ = self._forward(asked.frames).read(image_tokens, tokens, position, question_number, ())
        writes = follows != IGNORED
        logits = self.model.lm_head(states[writes]).float()
        chosen = logits.log_softmax(-1).gather(1, follows[writes][:, None])[:, 0]
        group_size = len(answers[0])
        first = torch.arange(len(answers))[:, None] * group_size
        owner = (first + question_number - 1)[writes]
        return chosen, token_entropies(logits.detach()), owner


def _packed(
    prompt: Sequence[int], answers: Sequence[Sequence[int]], length: int, pad: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """A group of answers after one prompt: tokens, position, number and next token as in `examples.Packed`, [length].

    The prompt has number 0, to which all answers attend. Its last token predicts their first one, so each answer has a
    copy of it.
    """
    shared = len(prompt) - 1
    tokens, position = np.full(length, pad, np.int64), np.zeros(length, np.int64)
    number, follows = np.full(length, -1, np.int64), np.full(length, IGNORED, np.int64)
    tokens[:shared], position[:shared], number[:shared] = prompt[:-1], np.arange(shared), 0
    start = shared
    for index, answer in enumerate(answers, 1):
        part = slice(start, start + len(answer))
        tokens[part] = [prompt[-1], *answer[:-1]]
        position[part] = shared + np.arange(len(answer))
        number[part] = index
        follows[part] = answer
        start = part.stop
    return tokens, position, number, follows

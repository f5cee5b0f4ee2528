"""Questions as token sequences: the model's input, its target text, and its target attention."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import Qwen2Tokenizer

from reasonseg_ros.reasoner.chat.prompts import normalise_question
from reasonseg_ros.tabletop.questions import knowledge
from reasonseg_ros.tabletop.questions.generation import generate, generate_part
from reasonseg_ros.tabletop.questions.question import PART_KIND, UNKNOWN_KIND, SceneQuestion
from reasonseg_ros.tabletop.questions.sentences import roughen
from reasonseg_ros.training.reasoner import tokenizer as words
from reasonseg_ros.training.reasoner.images import DenseLabels, SceneView
from reasonseg_ros.training.reasoner.model import IMAGE_TOKENS, IMAGE_WH

IGNORED = -100

KIND_SHARES = {
    "function": 0.12,
    "attribute": 0.10,
    "relation": 0.14,
    "comparison": 0.14,
    "multi_step": 0.20,
    "several": 0.36,
    "none": 0.25,
    PART_KIND: 0.04,
}
"""Weights for drawing a kind; many scenes do not allow every kind. Questions with several or no targets are frequent,
because the model needs them to learn to count."""

_CARELESS_SHARE, _STRAY_SHARE = 0.5, 0.4
_ROUGH_SHARE, _ROUGH_DROPOUT = 0.25, 0.1
_UNKNOWN_SHARE = 0.05
_TASKLESS_KINDS = ("attribute", "relation", "comparison")
_TASK_WORDS = sorted({word for tasks in knowledge.TASKS.values() for task in tasks for word in task.split()})


def careless(text: str, kind: str, rng: random.Random) -> str:
    """The question with words dropped and inserted, so that the model learns to tolerate noise.

    In kinds of questions without a task, the inserted word may be from a task.
    """
    words = roughen(text, rng).split() or text.split()
    if kind in _TASKLESS_KINDS and rng.random() < _STRAY_SHARE:
        words.insert(rng.choice((0, len(words))), rng.choice(_TASK_WORDS))
    return " ".join(words)


def boxes_and_points(scene: SceneView, question: SceneQuestion) -> list[tuple[int, ...]]:
    """x1, y1, x2, y2, x, y of each target in pixels of the model's image."""
    scale = [IMAGE_WH[0] / scene.size_wh[0], IMAGE_WH[1] / scene.size_wh[1]] * 3
    found = []
    for instance_id in question.targets:
        if question.part:
            own = [p for p in scene.parts if p.instance_id == instance_id and p.name == question.part and p.area_px]
            boxes = np.array([p.box_xyxy for p in own])
            box = (*boxes[:, :2].min(0), *boxes[:, 2:].max(0))
            point = max(own, key=lambda p: p.area_px).point_xy
        else:
            target = next(o for o in scene.objects if o.instance_id == instance_id)
            box, point = target.box_xyxy, target.point_xy
        found.append(tuple(round(float(v * s)) for v, s in zip((*box, *point), scale, strict=True)))
    return found


@dataclass(frozen=True, eq=False)
class Example:
    """One question with its response.

    Attributes:
        prompt: tokens from the question to the start of the response.
        response: tokens that the model is to write.
        looks: bool [len(response), 1 + IMAGE_TOKENS], target attention when writing each token; column 0 means
            nowhere. The tokens of several images are concatenated.
    """

    prompt: list[int]
    response: list[int]
    looks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


class ExampleEncoder:
    """Encodes questions and responses as tokens. Without `thoughts`, the thought of every response is empty."""

    def __init__(self, tokenizer: Qwen2Tokenizer, thoughts: bool = True) -> None:
        self._thoughts = thoughts
        self._backend = tokenizer.backend_tokenizer
        # BPE dropout splits words into pieces, so that the model can read unseen words.
        self._rough = Tokenizer.from_str(self._backend.to_str())
        self._rough.model.dropout = _ROUGH_DROPOUT
        self.prefix = self.tokens(
            f"<|im_start|>system\n{words.SYSTEM_LINE}{words.END}\n<|im_start|>user\n"
            f"{words.IMAGE_START}{words.IMAGE * IMAGE_TOKENS}{words.IMAGE_END}"
        )
        self._ask = self.tokens(f"{words.END}\n<|im_start|>assistant\n")

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def example(
        self, scene: SceneView, labels: DenseLabels, question: SceneQuestion, rng: random.Random | None = None
    ) -> Example:
        """The example of a question. With `rng`, its wording and tokens are augmented; without it, they are exact."""
        asked = self.asked(normalise_question(question.text), question.kind, rng)
        return Example(asked, *self.written(self._runs(scene, labels, question)))

    def asked(self, text: str, kind: str, rng: random.Random | None) -> list[int]:
        """Tokens from the question to the start of the response."""
        if rng is not None and rng.random() < _CARELESS_SHARE:
            text = careless(text, kind, rng)
        rough = rng is not None and rng.random() < _ROUGH_SHARE
        return (self._rough.encode(text, add_special_tokens=False).ids if rough else self.tokens(text)) + self._ask

    def written(self, runs: Sequence[tuple[str, NDArray[np.bool_]]]) -> tuple[list[int], NDArray[np.bool_]]:
        """Tokens of a response, and the target attention of each, from pieces of text with their target attention."""
        encoding = self._backend.encode("".join(run for run, _ in runs), add_special_tokens=False)
        ends = np.cumsum([len(run) for run, _ in runs])
        owner = np.searchsorted(ends, [end - 1 for _, end in encoding.offsets], side="right")
        return encoding.ids, np.stack([where for _, where in runs])[owner]

    def _runs(
        self, scene: SceneView, labels: DenseLabels, question: SceneQuestion
    ) -> list[tuple[str, NDArray[np.bool_]]]:
        """The response in pieces, each with its target attention."""

        def look(ids: Sequence[int], tokens: dict[int, NDArray[np.bool_]]) -> NDArray[np.bool_]:
            where = np.zeros(1 + IMAGE_TOKENS, bool)
            where[0] = not ids
            for i in ids:
                where[1:] |= tokens[i]
            return where

        if question.part:
            shown = [p for p in scene.parts if p.name == question.part and p.area_px]
            places = [[p.part_id for p in shown if p.instance_id == i] for i in question.targets]
            tokens = labels.part_tokens
        else:
            places, tokens = [[i] for i in question.targets], labels.tokens
        everything = look([i for place in places for i in place], tokens)
        runs = [(words.THINK, look(question.thought[0].attends, labels.tokens) if self._thoughts else everything)]
        runs += [(piece.text, look(piece.attends, labels.tokens)) for piece in question.thought if self._thoughts]
        runs += [(words.THOUGHT_END, everything)]
        items = boxes_and_points(scene, question)
        for k, (item, place) in enumerate(zip(items, places, strict=True)):
            opening = words.ITEMS_NEXT if k else words.ITEMS_OPEN
            body = ",".join(map(str, item[:4])) + words.ITEMS_POINT + ",".join(map(str, item[4:]))
            runs.append((opening + body, look(place, tokens)))
        runs.append((words.ITEMS_CLOSE if items else words.NO_ITEMS, everything))
        return [*runs, (words.ANSWER_END + words.END, everything)]


def draw_question(
    scene: SceneView, rng: random.Random, phrasing: str = "train", kind: str | None = None
) -> SceneQuestion | None:
    """A question of `kind`, or of a kind drawn by KIND_SHARES. None if the scene does not allow one.

    In the phrasing `wide`, questions may be about out-of-vocabulary objects.
    """
    shares = KIND_SHARES | ({UNKNOWN_KIND: _UNKNOWN_SHARE} if phrasing == "wide" else {})
    kind = kind or rng.choices(tuple(shares), tuple(shares.values()))[0]
    for _ in range(6):
        if kind == PART_KIND:
            question = generate_part(scene.objects, scene.parts, rng, size_wh=scene.size_wh)
        else:
            question = generate(scene.objects, rng, kind, phrasing, size_wh=scene.size_wh)
        if question is not None:
            return question
    return None


@dataclass(frozen=True, eq=False)
class Packed:
    """Several questions about one image in one row of `length` tokens after the image.

    Attributes:
        tokens, position: int64 [length]; the positions of each question begin at 0.
        follows: int64 [length], the next token to write; IGNORED if there is none.
        question: int64 [length], number of the question from 1; -1 for padding.
        looks: bool [length, 1 + IMAGE_TOKENS], target attention for the token in `follows`.
    """

    tokens: NDArray[np.int64]
    position: NDArray[np.int64]
    follows: NDArray[np.int64]
    question: NDArray[np.int64]
    looks: NDArray[np.bool_]


def pack(examples: Sequence[Example], length: int, pad: int, images: int = 1) -> Packed:
    """Concatenate examples in a row of `length` tokens. Together they must not be longer."""
    packed = Packed(
        np.full(length, pad, np.int64),
        np.zeros(length, np.int64),
        np.full(length, IGNORED, np.int64),
        np.full(length, -1, np.int64),
        np.zeros((length, 1 + images * IMAGE_TOKENS), bool),
    )
    start = 0
    for number, example in enumerate(examples, 1):
        size = len(example)
        row = slice(start, start + size)
        packed.tokens[row] = example.prompt + example.response
        packed.position[row] = np.arange(size)
        packed.question[row] = number
        # Each token predicts the next one; the last token of the response predicts nothing.
        writers = slice(start + len(example.prompt) - 1, start + size - 1)
        packed.follows[writers] = example.response
        packed.looks[writers] = example.looks
        start += size
    return packed

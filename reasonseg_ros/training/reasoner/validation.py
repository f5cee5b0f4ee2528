"""Scores of an exported reasoner on unseen questions, by kind of question, with unconstrained decoding."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from reasonseg_ros.evaluation.scoring.right_target import paired
from reasonseg_ros.geometry import box_iou
from reasonseg_ros.reasoner.chat.prompts import normalise_question
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.reasoner.dialects.strict import parse_strictly
from reasonseg_ros.reasoner.image_size import resize_rgb
from reasonseg_ros.tabletop.questions.question import KINDS, SceneQuestion
from reasonseg_ros.training.reasoner.examples import boxes_and_points, draw_question
from reasonseg_ros.training.reasoner.images import SceneView, view
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.types import RgbImage, Status

ChatMessages = list[dict[str, Any]]

_MAX_NEW_TOKENS = 160


@dataclass(frozen=True)
class JudgedAnswer:
    """An answer compared with the ground truth.

    Attributes:
        parseable: whether the text follows the dialect exactly.
        right: whether the boxes match the targets one to one, as in the evaluation; no box if nothing fits.
        ious: for each target, the best IoU with a box.
        points_inside: share of the points on a target.
        thought_right: whether the thought is literally the expected one.
        status: status from the tolerant parser, which the node uses.
    """

    question: SceneQuestion
    text: str
    parseable: bool
    right: bool
    ious: tuple[float, ...]
    points_inside: float
    thought_right: bool
    status: Status


def draw_questions(
    files: SceneFiles, count: int, phrasing: str, seed: int, kinds: Sequence[str] = KINDS
) -> list[tuple[SceneView, SceneQuestion]]:
    """Up to `count` questions about the scenes in turn, with the kinds in turn where a scene allows them."""
    rng = random.Random(seed)
    drawn: list[tuple[SceneView, SceneQuestion]] = []
    for index in range(100 * count):
        scene = view(files[index % len(files)])
        question = draw_question(scene, rng, phrasing, kinds[len(drawn) % len(kinds)])
        if question is not None:
            drawn.append((scene, question))
        if len(drawn) == count:
            break
    return drawn


def judge_text(scene: SceneView, question: SceneQuestion, text: str) -> JudgedAnswer:
    """Compare a model's text with the ground truth, in pixels of the model's image."""
    strict = parse_strictly(text, IMAGE_WH, "vision_reasoner", IMAGE_WH)
    answer = parse_answer(text, IMAGE_WH, dialect="vision_reasoner", answer_wh=IMAGE_WH)
    targets = boxes_and_points(scene, question)
    scale = np.array([IMAGE_WH[0] / scene.size_wh[0], IMAGE_WH[1] / scene.size_wh[1]], np.float32)
    inside = [
        float(scene.instance_ids[int(y), int(x)] in question.targets)
        for found in answer.groundings
        for x, y in found.points_xy / scale
    ]
    said_xyxy = [found.box_xyxy for found in answer.groundings]
    nearest = tuple(max((box_iou(box_xyxy, target[:4]) for box_xyxy in said_xyxy), default=0.0) for target in targets)
    return JudgedAnswer(
        question,
        text,
        parseable=strict.status is not Status.UNPARSABLE,
        right=answer.status.is_answer and paired(said_xyxy, [target[:4] for target in targets]),
        ious=nearest,
        points_inside=float(np.mean(inside)) if inside else 0.0,
        thought_right=answer.thought == question.thought_text,
        status=answer.status,
    )


class Asker:
    """Asks a checkpoint in the published layout in batches, with the node's prompts."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self._processor.tokenizer.padding_side = "left"
        self._model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True).eval()

    def texts(self, pairs: Sequence[tuple[SceneView, SceneQuestion]], batch: int = 50) -> list[str]:
        """The model's text for each question, by greedy decoding."""
        chats = [
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": normalise_question(q.text)}]}]
            for _, q in pairs
        ]
        return self.said(chats, [[scene.rgb] for scene, _ in pairs], batch)

    def said(self, chats: Sequence[ChatMessages], rgbs: Sequence[Sequence[RgbImage]], batch: int) -> list[str]:
        """The model's text for each chat, by greedy decoding; `rgbs` are the images of each chat."""
        said: list[str] = []
        for start in range(0, len(chats), batch):
            part = slice(start, start + batch)
            prompts = [
                self._processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
                for chat in chats[part]
            ]
            images = [
                Image.fromarray(resize_rgb(np.ascontiguousarray(rgb), IMAGE_WH)) for row in rgbs[part] for rgb in row
            ]
            inputs = self._processor(text=prompts, images=images, padding=True, return_tensors="pt")
            with torch.inference_mode():
                output = self._model.generate(**inputs, max_new_tokens=_MAX_NEW_TOKENS, do_sample=False)
            said += self._processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return said


def scene_summary(outcomes: Sequence[JudgedAnswer]) -> dict[str, float]:
    """Shares over the outcomes. The box IoU is the mean over all targets; a missing box counts 0."""
    ious = [iou for outcome in outcomes for iou in outcome.ious]
    empty = [o for o in outcomes if not o.question.targets]
    asked = [o for o in outcomes if o.question.targets]

    def share(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else float("nan")

    return {
        "count": len(outcomes),
        "parseable": share([o.parseable for o in outcomes]),
        "right": share([o.right for o in outcomes]),
        "right_target": share([o.right for o in asked]),
        "right_nothing": share([o.right for o in empty]),
        "false_nothing": share([o.status is Status.NO_TARGET for o in asked]),
        "box_iou": share(ious),
        "points_inside": share([o.points_inside for o in asked]),
        "thought_right": share([o.thought_right for o in outcomes]),
    }


def line(name: str, values: dict[str, float]) -> str:
    words = [f"{key} {value:.3f}" for key, value in values.items() if key != "count"]
    return f"{name:12} {values['count']:4} " + " ".join(words)


def validate_on_scenes(
    model: Path, scenes: Path, count: int, phrasing: str, seed: int, kinds: Sequence[str], show: int = 0
) -> None:
    """Ask `count` questions, and print the scores by kind with up to `show` wrong answers of each kind."""
    pairs = draw_questions(SceneFiles(scenes), count, phrasing, seed, kinds)
    texts = Asker(model).texts(pairs)
    outcomes = [judge_text(scene, question, text) for (scene, question), text in zip(pairs, texts, strict=True)]
    print(line(phrasing, scene_summary(outcomes)))
    for kind in kinds:
        own = [o for o in outcomes if o.question.kind == kind]
        print(line(f"  {kind}", scene_summary(own)))
        for outcome in [o for o in own if not o.right][:show]:
            print(f"    {outcome.question.text} | {outcome.question.thought_text} | {outcome.text}")

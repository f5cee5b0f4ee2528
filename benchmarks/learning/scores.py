"""Scores of a checkpoint on several sets of questions: right answers, greedy and in eight samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.tabletop.questions.question import KINDS, UNKNOWN_KIND, SceneQuestion
from reasonseg_ros.training.reasoner.images import SceneView
from reasonseg_ros.training.reasoner.validation import draw_questions, judge_text
from reasonseg_ros.training.reinforcement.policy import EmbeddedPolicy, QuestionBatch
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.types import RgbImage

SETS = ("trained phrasings", "unseen phrasings", "everyday phrasings", "dark and blurred", "out of world")
SAMPLED_SETS = ("trained phrasings", "everyday phrasings")
SAMPLES = 8
_AT_ONCE = 25
_SEED = 7
_MOST_UNKNOWN = 60

Asked = list[tuple[SceneView, SceneQuestion]]


def write_scores(folder: Path, model: Path, scenes: Path, questions: int, sampled: int) -> None:
    """Write a JSON file for each set into `folder`, unless it exists.

    It holds each `question`, its `kind`, and whether the greedy answer is `right`. For the first `sampled` questions of
    SAMPLED_SETS it also holds how many of eight answers are right (`right_of_8`).
    """
    missing = [name for name in SETS if not _path(folder, name).exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    policy, files = EmbeddedPolicy(model), SceneFiles(scenes)
    for name in missing:
        asked = test_set(files, name, questions)
        values = {
            "kind": [question.kind for _, question in asked],
            "question": [question.text for _, question in asked],
            "right": _right(policy, asked, 1, 0.0),
        }
        if name in SAMPLED_SETS:
            values["right_of_8"] = _right(policy, asked[:sampled], SAMPLES, 1.0)
        with whole_file(_path(folder, name)) as file:
            file.write(json_text(values) + "\n")
        print(f"{folder.name}, {name}: {np.mean(values['right']):.3f} of {len(asked)} right", flush=True)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def test_set(files: SceneFiles, name: str, count: int) -> Asked:
    """The questions of a set, always the same. Kinds alternate; `out of world` uses the phrases reserved for tests."""
    if name == "out of world":
        return draw_questions(files, min(count, _MOST_UNKNOWN), "unseen", _SEED, (UNKNOWN_KIND,))
    phrasing = {"unseen phrasings": "unseen", "everyday phrasings": "everyday"}.get(name, "train")
    asked = draw_questions(files, count, phrasing, _SEED, KINDS)
    if name == "dark and blurred":
        return [
            (replace(scene, rgb=dark_and_blurred(scene.rgb, i)), question) for i, (scene, question) in enumerate(asked)
        ]
    return asked


def dark_and_blurred(rgb: RgbImage, seed: int) -> RgbImage:
    """The image at half its brightness, with noise of 10 of 255 levels, blurred by a Gaussian of 1.5 px."""
    noise = np.random.default_rng(seed).normal(0, 10, rgb.shape)
    noisy = np.clip(rgb * 0.5 + noise, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.GaussianBlur(noisy, (0, 0), 1.5))


def _right(policy: EmbeddedPolicy, asked: Asked, group: int, temperature: float) -> list[int]:
    """Number of right answers among `group` answers to each question."""
    counts = []
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        batch = QuestionBatch([[scene.rgb] for scene, _ in part], [question.text for _, question in part])
        answers = policy.sampled(batch, group, temperature, _SEED + start)
        for (scene, question), texts in zip(part, answers, strict=True):
            counts.append(sum(judge_text(scene, question, policy.text(tokens)).right for tokens in texts))
    return counts

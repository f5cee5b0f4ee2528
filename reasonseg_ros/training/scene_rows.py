"""Training rows from rendered tabletop scenes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import write_image
from reasonseg_ros.training.reasoner.examples import boxes_and_points, draw_question
from reasonseg_ros.training.reasoner.images import view
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rows import TRUTH_PX, TrainingRow, TrueTarget, write_rows

_TRIES = 20


def write_scene_rows(scenes: Path, out: Path, count: int, phrasing: str, seed: int) -> None:
    """Write `count` rows about the scenes in turn, and their images.

    Targets are rounded to pixels of the model's image. Raises InvalidInput if the scenes do not allow that many.
    """
    if count < 1:
        raise InvalidInput(f"{count} rows; expected at least 1")
    files, rng, rows = SceneFiles(scenes), random.Random(seed), []
    images: set[str] = set()
    for index in range(_TRIES * count):
        number = index % len(files)
        scene = view(files[number])
        question = draw_question(scene, rng, phrasing)
        if question is None:
            continue
        targets = tuple(_target(item) for item in boxes_and_points(scene, question))
        image = f"images/{files[number].seed}.png"
        if image not in images:
            (out / "images").mkdir(parents=True, exist_ok=True)
            write_image(out / image, np.ascontiguousarray(scene.rgb))
            images.add(image)
        rows.append(TrainingRow(f"{files[number].seed}-{index}", image, question.text, targets, question.thought_text))
        if len(rows) == count:
            break
    if len(rows) < count:
        raise InvalidInput(f"the scenes of {scenes} allow only {len(rows)} of {count} questions; render more scenes")
    write_rows(out, rows)


def _target(item: tuple[int, ...]) -> TrueTarget:
    """Convert a target of the model's image, with an exclusive box, to an inclusive box in the squashed image."""
    x1, y1, x2, y2, x, y = (number * TRUTH_PX / IMAGE_WH[index % 2] for index, number in enumerate(item))
    return TrueTarget((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), ((x, y),))

"""Questions about a tabletop scene, each with its thought and the exact set of objects that answers it.

A question is made from the scene's ground truth, and dropped unless its answer is unambiguous: every object that could
be a target must be clearly visible, and the winner of a comparison must lead by a stated margin.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from reasonseg_ros.tabletop.questions import knowledge
from reasonseg_ros.tabletop.questions.clear_objects import MIN_AREA_SHARE, ClearObjects
from reasonseg_ros.tabletop.questions.makers import MAKERS, looked_at
from reasonseg_ros.tabletop.questions.question import KINDS, PART_KIND, SceneQuestion, ThoughtPiece
from reasonseg_ros.tabletop.scene import SceneObject, ScenePart

MAX_TARGETS = 4


def generate(
    objects: Sequence[SceneObject],
    rng: random.Random,
    kind: str | None = None,
    phrasing: str = "train",
    *,
    size_wh: tuple[int, int] = (320, 240),
) -> SceneQuestion | None:
    """A question about the scene; None if the draw has no clear answer (draw again).

    `phrasing` is one of `sentences.PHRASINGS`. Only `train` and `wide` are for training.
    """
    view = ClearObjects(objects, size_wh)
    if not view.clear:
        return None
    kind = kind or rng.choice(KINDS)
    question = MAKERS[kind](view, rng, phrasing)
    if question is None or len(question.targets) > MAX_TARGETS:
        return None
    return question


def generate_part(
    objects: Sequence[SceneObject],
    parts: Sequence[ScenePart],
    rng: random.Random,
    *,
    size_wh: tuple[int, int] = (320, 240),
) -> SceneQuestion | None:
    """A question about a part of an object of a unique category; None if the draw does not fit the scene."""
    view = ClearObjects(objects, size_wh)
    category, part, texts = rng.choice(knowledge.PART_QUESTIONS)
    owners = view.all_of(lambda o: o.category == category)
    if not owners or len(owners) != 1:
        return None
    shown_px = sum(p.area_px for p in parts if p.instance_id == owners[0].instance_id and p.name == part)
    if shown_px < MIN_AREA_SHARE * size_wh[0] * size_wh[1]:
        return None
    why = ThoughtPiece(f"the {part} belongs to the {category}.", (owners[0].instance_id,))
    return SceneQuestion(PART_KIND, rng.choice(texts), (why, *looked_at(view, owners)), (owners[0].instance_id,), part)

"""Questions about what happened in a video of the tabletop."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from reasonseg_ros.tabletop.questions import Piece, Question, View

if TYPE_CHECKING:
    from reasonseg_ros.tabletop.video import Video

TEMPORAL_KIND = "temporal"

LEAST_CLEAR_SHARE = 1 / 3
"""The target is clearly seen in at least this share of the frames."""

# What happened: the thought's first words, and questions.
EVENT_QUESTIONS = {
    "pushed": ("it was pushed", ("what was pushed?", "which object was shoved aside?", "the thing that slid")),
    "rolled": ("it rolled", ("what rolled?", "which object was rolling?", "the thing that rolled over the table")),
    "fell": ("it fell over", ("what fell over?", "which object toppled?", "the thing that tipped over")),
    "put_down": (
        "it was put down",
        ("what was put down?", "which object was added to the table?", "the thing that was not there at first"),
    ),
    "hidden": ("it is hidden now", ("what is hidden now?", "which object cannot be seen any more?")),
}


def generate_temporal(video: Video, rng: random.Random) -> Question | None:
    """A question about an event that happened to one object only, or None where the draw has no clear answer.

    The thought describes the target where it is seen best; its id is the same in every frame.
    """
    event = rng.choice(video.events)
    if sum(other.kind == event.kind for other in video.events) > 1:
        return None
    size_wh = video.scenes[0].rgb.shape[1], video.scenes[0].rgb.shape[0]
    seen = []
    for scene in video.scenes:
        view = View(scene.objects, size_wh)
        seen += [(item.area_px, view.describe(item)) for item in view.clear if item.instance_id == event.instance_id]
    if len(seen) < LEAST_CLEAR_SHARE * len(video.scenes):
        return None
    why, texts = EVENT_QUESTIONS[event.kind]
    target = (event.instance_id,)
    thought = (Piece(f"{why}:", target), Piece(f"{max(seen)[1]}.", target))
    return Question(TEMPORAL_KIND, rng.choice(texts), thought, target)

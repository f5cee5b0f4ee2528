"""Questions about what happened in a video of the tabletop."""

from __future__ import annotations

import random
from dataclasses import dataclass

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.tabletop.questions.clear_objects import ClearObjects
from reasonseg_ros.tabletop.questions.question import SceneQuestion, ThoughtPiece
from reasonseg_ros.tabletop.questions.sentences import ENDINGS, OPENINGS
from reasonseg_ros.tabletop.videos.video import Event, Video

TEMPORAL_KIND = "temporal"
PHRASINGS = ("train", "unseen")

LEAST_CLEAR_SHARE = 1 / 3
"""Minimum share of frames in which the target is clearly visible."""

# By event: the thought's first words, and questions. The last three of each are held out as unseen phrasings.
EVENT_QUESTIONS = {
    "pushed": (
        "it was pushed",
        ("what was pushed?", "which object was shoved aside?", "the thing that slid", "find the object that was pushed",
         "what did somebody push?", "show me what was moved aside", "which one slid over the table?",
         "the object that got pushed", "what was shoved?", "where is the thing that was pushed away?",
         "which thing slid sideways?", "tell me what got shoved", "what has been pushed",
         "which of these was pushed along?", "what slid across the table?", "the thing somebody shoved"),
    ),
    "rolled": (
        "it rolled",
        ("what rolled?", "which object was rolling?", "the thing that rolled over the table",
         "find the object that rolled", "what did roll away?", "show me what was rolling", "which one rolled?",
         "the object that rolled along", "where is the thing that rolled away?", "which thing kept rolling?",
         "tell me what rolled over", "what has rolled", "the one that was rolling around",
         "which of these did roll?", "what rolled across the table?", "the thing that went rolling"),
    ),
    "fell": (
        "it fell over",
        ("what fell over?", "which object toppled?", "the thing that tipped over", "find the object that fell",
         "what toppled over?", "show me what has fallen", "which one fell over?", "the object that tipped",
         "where is the thing that fell over?", "which thing was knocked over?", "tell me what toppled",
         "what has tipped over", "what did not stay upright?",
         "which of these has toppled?", "what got knocked over?", "the thing that fell down"),
    ),
    "put_down": (
        "it was put down",
        ("what was put down?", "which object was added to the table?", "the thing that was not there at first",
         "find the object that was put down", "what did somebody put on the table?", "show me what was added",
         "which one is new?", "the object that was set down", "where is the thing that was placed here?",
         "which thing appeared?", "tell me what was placed on the table", "what has been added",
         "what came onto the table?",
         "which of these was set down here?", "what is new on the table?", "the thing somebody added"),
    ),
    "hidden": (
        "it is hidden now",
        ("what is hidden now?", "which object cannot be seen any more?", "find the object that is hidden",
         "what disappeared from view?", "show me what is covered now", "which one is out of sight?",
         "the object that is hidden now", "where is the thing that got hidden?", "which thing went out of sight?",
         "tell me what cannot be seen now", "what has disappeared", "the thing that is hidden behind another",
         "what is covered by something?",
         "which of these got hidden?", "what can i not see any more?", "the thing that is out of view"),
    ),
}  # fmt: skip
_UNSEEN = 3


@dataclass(frozen=True)
class Sighting:
    """A frame in which an object is clearly visible.

    Attributes:
        frame: index from 0.
        area_px: visible pixels.
        words: the object and its place in that frame, as in thoughts.
    """

    frame: int
    area_px: int
    words: str


def sightings(video: Video, instance_id: int) -> list[Sighting]:
    """The frames in which the object is clearly visible, in order."""
    size_wh = video.scenes[0].rgb.shape[1], video.scenes[0].rgb.shape[0]
    views = [ClearObjects(scene.objects, size_wh) for scene in video.scenes]
    return [
        Sighting(frame, item.area_px, view.describe(item))
        for frame, view in enumerate(views)
        for item in view.clear
        if item.instance_id == instance_id
    ]


def check_phrasing(phrasing: str) -> None:
    """Raises InvalidInput for phrasings that are only for questions about still scenes."""
    if phrasing not in PHRASINGS:
        raise InvalidInput(f"phrasing {phrasing} is for still scenes; for videos use {' or '.join(PHRASINGS)}")


def sentence(kind: str, rng: random.Random, phrasing: str = "train") -> str:
    """A question about an event of that kind. Sentences of the phrasing `unseen` are held out from training."""
    check_phrasing(phrasing)
    texts = EVENT_QUESTIONS[kind][1]
    if phrasing == "unseen":
        return rng.choice(texts[-_UNSEEN:])
    text = rng.choice(texts[:-_UNSEEN])
    return rng.choice(OPENINGS) + text + (rng.choice(ENDINGS) if not text.endswith("?") else "")


def ask_about(video: Video, event: Event, rng: random.Random, phrasing: str = "train") -> SceneQuestion | None:
    """A question about the event; None if it happened to several objects, or if its target is rarely visible.

    The thought describes the target in the frame in which it is largest. Its id is the same in every frame.
    """
    if sum(other.kind == event.kind for other in video.events) > 1:
        return None
    seen = sightings(video, event.instance_id)
    if len(seen) < LEAST_CLEAR_SHARE * len(video.scenes):
        return None
    target = (event.instance_id,)
    best = max(seen, key=lambda sighting: sighting.area_px)
    thought = (ThoughtPiece(f"{EVENT_QUESTIONS[event.kind][0]}:", target), ThoughtPiece(f"{best.words}.", target))
    return SceneQuestion(TEMPORAL_KIND, sentence(event.kind, rng, phrasing), thought, target)

"""Questions about videos as token sequences for round 1, which chooses a keyframe and describes the target.

Round 2 is a question about one image, which the reasoner learns from still scenes. Source of the two rounds: Li et al.,
"ReVSeg: Incentivizing the Reasoning Chain for Video Segmentation with Reinforcement Learning", 2025, arXiv:2512.02835.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.reasoner.chat.prompts import normalise_question
from reasonseg_ros.tabletop.videos import temporal
from reasonseg_ros.tabletop.videos.temporal import EVENT_QUESTIONS, TEMPORAL_KIND, Sighting
from reasonseg_ros.tabletop.videos.video import EVENT_KINDS, Event
from reasonseg_ros.training.reasoner import tokenizer as words
from reasonseg_ros.training.reasoner.examples import Example, ExampleEncoder
from reasonseg_ros.training.reasoner.images import DenseLabels, SceneView, view
from reasonseg_ros.training.reasoner.model import IMAGE_TOKENS
from reasonseg_ros.training.rendered.videos import StoredVideo

_KEYFRAME_SPREAD = 0.12
"""Decrease of the target's relative area that makes a frame e times less likely as keyframe."""


@dataclass(frozen=True, eq=False)
class VideoView:
    """The frames of a video, possibly mirrored, and its events."""

    scenes: Sequence[SceneView]
    events: Sequence[Event]


def video_view(video: StoredVideo, mirrored: bool = False) -> VideoView:
    return VideoView([view(scene, mirrored) for scene in video.scenes], video.events)


def video_prefix(encoder: ExampleEncoder, frames: int) -> list[int]:
    """Tokens of the chat up to the end of the last frame. Each frame follows its number, from 1."""
    image = words.IMAGE_START + words.IMAGE * IMAGE_TOKENS + words.IMAGE_END
    shown = "".join(f"{number}{image}" for number in range(1, frames + 1))
    return encoder.tokens(f"<|im_start|>system\n{words.SYSTEM_LINE}{words.END}\n<|im_start|>user\n{shown}")


def event_labels(video: VideoView, labels: Sequence[DenseLabels]) -> NDArray[np.float32]:
    """Past events of the object at each image token. float32 [frames * IMAGE_TOKENS, len(EVENT_KINDS)].

    A hidden object is marked at its last clear position.
    """
    happened = np.zeros((len(labels), IMAGE_TOKENS, len(EVENT_KINDS)), np.float32)
    for event in video.events:
        for frame, tokens in enumerate(_event_tokens(video, labels, event)):
            happened[frame, :, EVENT_KINDS.index(event.kind)] += tokens
    return happened.reshape(-1, len(EVENT_KINDS)).clip(max=1)


def _event_tokens(video: VideoView, labels: Sequence[DenseLabels], event: Event) -> list[NDArray[np.bool_]]:
    """For each frame, the tokens that show that the event has happened. Each bool [IMAGE_TOKENS]."""
    nothing = np.zeros(IMAGE_TOKENS, bool)
    if event.kind != "hidden":
        return [
            own.tokens.get(event.instance_id, nothing) if frame >= event.first_frame else nothing
            for frame, own in enumerate(labels)
        ]
    seen = [s.frame for s in temporal.sightings(video, event.instance_id)]  # type: ignore[arg-type]
    place = labels[seen[-1]].tokens[event.instance_id] if seen else nothing
    return [place if frame >= event.last_frame else nothing for frame in range(len(labels))]


def _looks(frames: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Target attention, bool [1 + frames * IMAGE_TOKENS]; only the first is set if there is nothing to look at."""
    where = np.concatenate(frames)
    return np.concatenate([[not where.any()], where])


def draw_keyframe(seen: Sequence[Sighting], rng: random.Random) -> Sighting:
    """A random frame in which the target is large. The randomness teaches graded preferences."""
    largest_px = max(s.area_px for s in seen)
    weights = [math.exp((s.area_px / largest_px - 1) / _KEYFRAME_SPREAD) for s in seen]
    return rng.choices(seen, weights)[0]


class VideoEncoder:
    """Turns events into round-1 examples."""

    def __init__(self, encoder: ExampleEncoder, frames: int) -> None:
        self._encoder = encoder
        self.prefix = video_prefix(encoder, frames)

    def examples(self, video: VideoView, labels: Sequence[DenseLabels], rng: random.Random) -> list[Example]:
        """Two wordings per event with a clear answer, and often a question about an event that did not happen."""
        drawn = [
            self.happened(video, labels, event, rng)
            for event in video.events
            if sum(other.kind == event.kind for other in video.events) == 1
            for _ in range(2)
        ]
        absent = [kind for kind in EVENT_KINDS if all(event.kind != kind for event in video.events)]
        found = [example for example in drawn if example is not None]
        if absent and rng.random() < 0.6:
            found.append(self.nothing(rng.choice(absent), len(labels), rng))
        rng.shuffle(found)
        return found

    def happened(
        self, video: VideoView, labels: Sequence[DenseLabels], event: Event, rng: random.Random
    ) -> Example | None:
        """A question about an event; None if too few frames show its target clearly."""
        seen = temporal.sightings(video, event.instance_id)  # type: ignore[arg-type]
        if len(seen) < temporal.LEAST_CLEAR_SHARE * len(labels):
            return None
        key = draw_keyframe(seen, rng)
        target = next(o for o in video.scenes[key.frame].objects if o.instance_id == event.instance_id)
        nothing = np.zeros(IMAGE_TOKENS, bool)
        own = labels[key.frame].tokens[event.instance_id]
        at_key = _looks([own if frame == key.frame else nothing for frame in range(len(labels))])
        at_event = _looks(_event_tokens(video, labels, event))
        runs = [
            (words.THINK, at_event),
            (f"{EVENT_QUESTIONS[event.kind][0]}:", at_event),
            (f"{key.words}.", at_key),
            (words.THOUGHT_END, at_key),
            (words.FRAME_OPEN[key.frame], at_key),
            (f" {target.color} {target.category}", at_key),
            (words.FRAME_CLOSE + words.ANSWER_END + words.END, at_key),
        ]
        return Example(self._asked(event.kind, rng), *self._encoder.written(runs))

    def nothing(self, kind: str, frames: int, rng: random.Random) -> Example:
        """A question about an event of that kind that did not happen."""
        nowhere = _looks([np.zeros(IMAGE_TOKENS, bool)] * frames)
        text = f"{words.THINK}{EVENT_QUESTIONS[kind][0]}: nothing fits.{words.THOUGHT_END}{words.NO_ITEMS}"
        runs = [(text + words.ANSWER_END + words.END, nowhere)]
        return Example(self._asked(kind, rng), *self._encoder.written(runs))

    def _asked(self, kind: str, rng: random.Random) -> list[int]:
        return self._encoder.asked(normalise_question(temporal.sentence(kind, rng)), TEMPORAL_KIND, rng)

"""Scores of an exported reasoner on unseen videos in two rounds, by event, with unconstrained decoding."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.chat.prompts import normalise_question
from reasonseg_ros.reasoner.rounds import Keyframe, parse_keyframe, round_messages
from reasonseg_ros.tabletop.questions.question import SceneQuestion
from reasonseg_ros.tabletop.videos import temporal
from reasonseg_ros.tabletop.videos.video import EVENT_KINDS
from reasonseg_ros.training.reasoner.images import SceneView, view
from reasonseg_ros.training.reasoner.validation import Asker, judge_text, line
from reasonseg_ros.training.rendered.videos import StoredVideo, VideoFiles
from reasonseg_ros.types import Status

NOTHING = "nothing"
"""Marks questions about an event that did not happen."""


@dataclass(frozen=True, eq=False)
class VideoQuestion:
    """A question about a video. `event` is one of EVENT_KINDS, or NOTHING; `target` is an instance id, 0 for none."""

    video: StoredVideo
    event: str
    text: str
    target: int


@dataclass(frozen=True)
class VideoOutcome:
    """The result of both rounds of a question.

    Attributes:
        usable: whether the target is clearly visible in the chosen frame.
        named: whether the description is the target's colour and category.
        right: whether round 2 boxes exactly the target, in a frame that shows it clearly. Without a target: whether
            round 1 says that nothing fits.
    """

    event: str
    keyframe: Keyframe
    usable: bool
    named: bool
    right: bool


def draw_video_questions(files: VideoFiles, count: int, phrasing: str, seed: int) -> list[VideoQuestion]:
    """Up to `count` questions, at most one per video. About a sixth are about events that did not happen."""
    rng = random.Random(seed)
    drawn: list[VideoQuestion] = []
    for index in range(len(files)):
        if len(drawn) == count:
            break
        video = files[index]
        absent = [kind for kind in EVENT_KINDS if all(event.kind != kind for event in video.events)]
        if absent and rng.random() < 1 / 6:
            kind = rng.choice(absent)
            drawn.append(VideoQuestion(video, NOTHING, temporal.sentence(kind, rng, phrasing), 0))
            continue
        event = rng.choice(video.events)
        question = temporal.ask_about(video, event, rng, phrasing)  # type: ignore[arg-type]
        if question is not None:
            drawn.append(VideoQuestion(video, event.kind, question.text, event.instance_id))
    return drawn


def ask(asker: Asker, questions: Sequence[VideoQuestion], batch: int = 16) -> list[VideoOutcome]:
    card = load_card("tabletop-reasoner", "reasoner")
    chats = [
        round_messages(card, normalise_question(q.text), [{"type": "image"}] * len(q.video.scenes)) for q in questions
    ]
    texts = asker.said(chats, [[scene.rgb for scene in q.video.scenes] for q in questions], batch)
    first = [parse_keyframe(text, len(q.video.scenes)) for text, q in zip(texts, questions, strict=True)]
    chosen = [k for k, keyframe in enumerate(first) if keyframe.status is Status.OK]
    pairs = [(view(questions[k].video.scenes[first[k].index]), _second(questions[k], first[k])) for k in chosen]
    second = dict(zip(chosen, asker.texts(pairs), strict=True))
    seen = dict(zip(chosen, pairs, strict=True))
    return [
        _outcome(q, keyframe, seen.get(k), second.get(k, ""))
        for k, (q, keyframe) in enumerate(zip(questions, first, strict=True))
    ]


def _second(question: VideoQuestion, keyframe: Keyframe) -> SceneQuestion:
    return SceneQuestion(
        "attribute", keyframe.description or question.text, (), (question.target,) * (question.target > 0)
    )


def _outcome(
    asked: VideoQuestion, keyframe: Keyframe, shown: tuple[SceneView, SceneQuestion] | None, text: str
) -> VideoOutcome:
    if not asked.target:
        return VideoOutcome(asked.event, keyframe, False, False, keyframe.status is Status.NO_TARGET)
    if shown is None:
        return VideoOutcome(asked.event, keyframe, False, False, False)
    scene, question = shown
    target = next(o for o in scene.objects if o.instance_id == asked.target)
    seen = temporal.sightings(asked.video, asked.target)  # type: ignore[arg-type]
    usable = keyframe.index in [sighting.frame for sighting in seen]
    named = keyframe.description == f"the {target.color} {target.category}"
    return VideoOutcome(asked.event, keyframe, usable, named, usable and judge_text(scene, question, text).right)


def video_summary(outcomes: Sequence[VideoOutcome]) -> dict[str, float]:
    """Shares over the outcomes."""

    def share(values: Sequence[bool]) -> float:
        return float(np.mean(values)) if values else float("nan")

    asked = [o for o in outcomes if o.event != NOTHING]
    return {
        "count": len(outcomes),
        "parseable": share([o.keyframe.status in (Status.OK, Status.NO_TARGET) for o in outcomes]),
        "usable": share([o.usable for o in asked]),
        "named": share([o.named for o in asked]),
        "right": share([o.right for o in outcomes]),
        "false_nothing": share([o.keyframe.status is Status.NO_TARGET for o in asked]),
    }


def validate_on_videos(model: Path, videos: Path, count: int, phrasing: str, seed: int, show: int = 0) -> None:
    """Ask `count` questions, and print the scores by event with up to `show` wrong answers of each event."""
    questions = draw_video_questions(VideoFiles(videos), count, phrasing, seed)
    outcomes = ask(Asker(model), questions)
    print(line(phrasing, video_summary(outcomes)))
    for event in (*EVENT_KINDS, NOTHING):
        own = [pair for pair in zip(questions, outcomes, strict=True) if pair[1].event == event]
        print(line(f"  {event}", video_summary([outcome for _, outcome in own])))
        for question, outcome in [pair for pair in own if not pair[1].right][:show]:
            print(f"    {question.video.seed} {question.text} | {question.target} | {outcome.keyframe.raw_text}")

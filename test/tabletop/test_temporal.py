"""Questions about what happened are about one object, and that one is seen."""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from reasonseg_ros.tabletop.scene import SceneObject
from reasonseg_ros.tabletop.videos.temporal import EVENT_QUESTIONS, TEMPORAL_KIND, ask_about
from reasonseg_ros.tabletop.videos.video import EVENT_KINDS, Event

CAN = SceneObject(
    2, "can", "red", (0, 0, 0.05), (0.1, 0.07, 0.07), 900, 1.0, (30, 100, 60, 130), (45, 115), 0.8
)  # fmt: skip


def video(*events, hidden_frames=0):
    rgb = np.zeros((240, 320, 3), np.uint8)
    gone = replace(CAN, area_px=0, visible_share=0.0, box_xyxy=(0, 0, 0, 0))
    items = [CAN] * (9 - hidden_frames) + [gone] * hidden_frames
    scenes = tuple(SimpleNamespace(rgb=rgb, objects=(item,)) for item in items)
    return SimpleNamespace(scenes=scenes, events=events)


def asked(shown, seed):
    return ask_about(shown, shown.events[0], random.Random(seed))


def test_every_event_has_its_question():
    assert set(EVENT_QUESTIONS) == set(EVENT_KINDS)
    for kind in EVENT_KINDS:
        question = asked(video(Event(kind, 2, 3, 6)), 1)
        assert (question.kind, question.targets) == (TEMPORAL_KIND, (2,))
        assert any(text in question.text for text in EVENT_QUESTIONS[kind][1])
        assert question.thought_text == f"{EVENT_QUESTIONS[kind][0]}: red can left center."


def test_two_things_that_fell_are_ambiguous():
    fallen = video(Event("fell", 2, 3, 6), Event("fell", 1, 4, 6))
    assert not any(asked(fallen, n) for n in range(20))


def test_a_target_that_is_hardly_ever_seen_is_not_asked_for():
    assert asked(video(Event("hidden", 2, 3, 6), hidden_frames=6), 0)
    assert not asked(video(Event("hidden", 2, 3, 6), hidden_frames=7), 0)

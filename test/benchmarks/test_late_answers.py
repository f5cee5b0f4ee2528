"""The simulation of late answers, with a square that a scripted tracker knows by its colour."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.late_answers import report as late_report
from benchmarks.late_answers.report import markdown, tables
from benchmarks.late_answers.run import FRAMES, Questions, questions
from benchmarks.late_answers.simulation import Costs, Robot
from reasonseg_ros.config import config_from
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.tabletop.videos.video import Event

MOVER, OTHER = 1, 2
COSTS = Costs(0.05, 0.2, 0.05, 0.01, 0.0)
"""With memory a step and its image take 0.25 s."""


def scene(index, hidden):
    ids = np.zeros((32, 220), np.uint8)
    ids[20:32, 4:16] = OTHER
    if not hidden:
        ids[2:14, 4 + 2 * index : 16 + 2 * index] = MOVER
    rgb = np.stack([ids * 100, ids, ids], axis=-1)
    objects = (SimpleNamespace(instance_id=MOVER), SimpleNamespace(instance_id=OTHER))
    return SimpleNamespace(rgb=rgb, objects=objects, mask=lambda wanted: np.isin(ids, wanted))


def asked_about(hidden=range(0)):
    scenes = tuple(scene(index, index in hidden) for index in range(FRAMES))
    video = SimpleNamespace(seed=7, scenes=scenes, events=(Event("pushed", MOVER, 6, 70),))
    return Questions(video, ScriptedSegmenter("box"))


def robot(costs=COSTS):
    config = config_from({"tracker.mode": "memory"})
    return Robot(config, ScriptedSegmenter("box"), ScriptedTracker, costs)


def test_a_question_about_what_moves_and_one_about_what_stays():
    assert list(questions(asked_about().video)) == [(5, MOVER), (5, OTHER)]


def test_the_late_mask_is_off_and_the_carried_one_fits():
    answer = asked_about().ask(5, MOVER, 2.0, robot())
    assert (answer.moved, answer.as_it_was, answer.same_box) == (True, 0.0, 0.0)
    assert (answer.status, answer.asked, answer.event) == ("ok", 1, "pushed")
    assert answer.carried > 0.3  # three images behind, each of which is two of twelve pixels
    assert answer.on_its_image == 1.0
    still = asked_about().ask(5, OTHER, 2.0, robot())
    assert (still.moved, still.as_it_was, still.carried, still.event) == (False, 1.0, 1.0, "none")


def test_catching_up_is_charged_and_images_are_left_out():
    slow = asked_about().ask(5, MOVER, 2.0, robot())
    assert slow.catch_up_s == pytest.approx(0.2 + 0.25 * slow.stepped + 0.01)
    assert slow.left_out > 10
    free = asked_about().ask(5, MOVER, 2.0, robot(Costs(0, 0, 0, 0, 0)))
    assert (free.stepped, free.left_out, free.catch_up_s, free.age_s, free.carried) == (20, 0, 0, 0, 1.0)


def test_a_lost_target_is_asked_for_again_after_the_delay():
    answer = asked_about(hidden=range(24, 30)).ask(5, MOVER, 2.0, robot(Costs(0, 0, 0, 0, 0)))
    assert (answer.asked, answer.status, answer.carried) == (
        2,
        "no_target",
        0.0,
    )  # at 2.5 s it was hidden, at 4.5 s not
    answer = asked_about(hidden=range(24, 26)).ask(5, MOVER, 2.0, robot())
    assert (answer.asked, answer.status) == (1, "ok")  # seen again before it was caught up with


def test_no_answer_after_the_end_of_the_video():
    assert asked_about().ask(FRAMES - 10, MOVER, 2.0, robot()) is None


def test_tables(monkeypatch):
    asked = asked_about()
    rows = [asked.ask(5, target, delay_s, robot()) for target in (MOVER, OTHER) for delay_s in (0.5, 2.0)]
    monkeypatch.setattr(late_report, "DELAYS_S", (0.5, 2.0))
    found = tables(rows)
    assert found["memory"]["moved"]["2.0"]["answers"] == 1
    assert found["memory"]["all"]["2.0"]["as_it_was"] == {"mean": 0.5, "median": 0.5}
    assert found["reprompt"]["all"]["2.0"] == {"answers": 0}
    about = {"date": "2026-11-21", "command": "python", "commit": "0", "videos": 1, "answers": 4, "costs": "assumed"}
    about |= {"settings": {"stream.catch_up_s": 0.5}, "masks_a_second": {"memory": 4.0, "reprompt": 10.0}}
    about |= {
        "costs_s": {"encode_s": 0.05, "memory_s": 0.2, "reprompt_s": 0.05, "move_s": 0.02, "decode_s": 0.002},
        "by_tracker": found,
    }
    assert "| memory | moved | 2.0 s | 1 | 0.00 / 0.00 |" in markdown(about)

"""A short soak: the node in a separate process with scripted models, and every step of the long soak."""

import os

import cv2
import numpy as np
import pytest
from moving import picture

from benchmarks.results import machine
from benchmarks.soak.growth import Growth, after_warm_up, growth
from benchmarks.soak.report import markdown
from benchmarks.soak.run import ROOT, failures, run
from benchmarks.soak.user import Question, User

SECONDS = 8.0
PACE = 0.05
"""Longest pause between two things that are done, seconds."""


@pytest.fixture
def video(tmp_path):
    """Lossless, as the scripted tracker knows colours exactly."""
    path = str(tmp_path / "moving.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"FFV1"), 10.0, (64, 48))
    for number in range(40):
        writer.write(picture(number).rgb[:, :, ::-1])
    writer.release()
    return path


def test_every_question_ends_once_whatever_is_done(video, domain_id, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setattr("benchmarks.soak.user.LONGEST_PAUSE_S", PACE)
    monkeypatch.setattr("benchmarks.soak.user.RECONFIGURE_S", 3.0)
    monkeypatch.setattr("benchmarks.soak.run.GIVEN_BACK_S", 1.0)  # how memory grows is not seen in so short a time
    node = [str(ROOT / "test/ros/moving.py"), "--ros-args", "-p", "output.depth:=1000"]
    camera = ["-m", "benchmarks.soak", video, "--camera", "--rate", "20", "--tabletop", "0", "--seed", "1"]
    result = run(node, camera, SECONDS, 1, domain_id)
    assert not result["without_an_end"], result
    assert not result["wrong"], result
    assert (result["node_exit_code"], result["tracebacks"]) == (0, 0), result
    ends = {end for way in result["ends"].values() for end in way}
    assert any("ok" in end for end in ends), result
    assert result["followed"] + result["carried"] > 0
    about = {"command": "soak", "commit": "0", "date": "2026-11-21", "machine": machine()}
    assert f"{result['questions']} questions" in markdown({**about, **result})


GOOD = {
    "node_exit_code": 0, "tracebacks": 0, "without_an_end": [], "wrong": [],
    "threads": [20, 24, 25], "files": [20, 20, 20],
    "memory_growth_mb_per_1000_images": {"slope": 2.0, "low": -5.0, "high": 9.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"node_exit_code": -11}, "ended with -11"),
        ({"tracebacks": 1}, "1 tracebacks"),
        ({"without_an_end": ["q"]}, "1 questions have no end"),
        ({"wrong": ["a second end"]}, "a second end"),
        ({"memory_growth_mb_per_1000_images": {"slope": 3.0, "low": 1.1, "high": 5.0}}, "grows by 3.0 MB"),
        ({"memory_growth_mb_per_1000_images": {"slope": 3.0, "low": -9.0, "high": 25.0}}, "not shown to be flat"),
        ({"threads": [20, 24, 30]}, "threads grow"),
        ({"files": [20, 20, 90]}, "files grow"),
    ],
)
def test_what_a_soak_must_not_show(change, words):
    assert not failures(GOOD)
    (found,) = failures(GOOD | change)
    assert words in found


@pytest.mark.parametrize("leak_mb", [0.0, 30.0])
def test_growth_is_of_what_is_held_at_rest_whatever_is_kept_for_late_answers(leak_mb):
    rng = np.random.default_rng(0)
    kept_mb = rng.uniform(0, 50, 32)
    samples = [
        {
            "images": 75 * i, "kept_mb": kept, "loads": 1 + i // 16, "loaded_for_s": 15 * (i % 16),
            "memory_mb": 500 - 100 * (i // 16) + kept + leak_mb * 0.075 * i + rng.exponential(5),
        }
        for i, kept in enumerate(kept_mb)
    ]  # fmt: skip
    found = growth(samples)
    assert found.low < leak_mb < found.high
    assert found.high - found.low < 20
    assert bool(found.faults()) == bool(leak_mb)


def test_the_time_after_each_loading_is_no_growth():
    samples = [{"loaded_for_s": 15.0 * (i % 10), "second": 15.0 * i} for i in range(20)]
    assert [sample["second"] for sample in after_warm_up(samples)] == [105, 120, 135, 255, 270, 285]


def test_of_too_few_samples_nothing_is_known():
    assert growth([]) == Growth(0.0, float("-inf"), float("inf"))
    assert growth([]).faults()


@pytest.mark.parametrize(
    ("mode", "status", "answers", "is_last"),
    [
        ("track", "empty_mask", 1, True), ("track", "empty_mask", 4, False), ("track", "lost", 4, False),
        ("track", "ok", 9, True), ("track", "no_target", 1, True), ("watch", "no_target", 1, False),
        ("watch", "cancelled", 2, True), ("once", "ok", 1, True),
    ],
)  # fmt: skip
def test_a_tracked_target_may_be_out_of_sight_before_its_question_ends(mode, status, answers, is_last):
    question = Question("topic", mode, frames=9, answers=answers)
    assert User._is_last(question, status) is is_last

"""Questions that are watched: asked again after a while, when the target is lost or the scene changes."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.stream import scene_change
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.stream.scene_change import SceneChange, thumbnail
from reasonseg_ros.types import Frame, Mode, Status
from test.live.following.test_propagation import picture
from test.live.robot import LIMIT_S, is_idle, until


def test_a_watched_question_is_tracked_and_asked_again_when_its_target_is_lost(start):
    robot = start({"watch_period_s": 3600.0})
    robot.show(picture(1))
    request = robot.ask(Mode.WATCH)
    robot.wait(1)
    robot.show_all(picture(2), picture(3, hidden=True))
    robot.show(picture(9, hidden=True))
    robot.wait(5)
    assert [status for status, _, _ in robot.reported()] == ["ok", "ok", "empty_mask", "lost", "no_target"]
    assert not any(is_last for _, _, is_last in robot.reported())
    robot.worker.cancel(request)
    assert robot.wait(6).is_last


def test_a_watched_question_is_not_followed_where_that_is_off(start):
    robot = start({"watch_period_s": 3600.0}, follow_watched=False)
    robot.show(picture(1))
    robot.ask(Mode.WATCH)
    robot.wait(1)
    assert (robot.worker.load().standing, robot.worker.load().tracked) == (1, 0)


def test_a_watched_question_is_asked_again_when_the_scene_changed(start):
    robot = start({"watch_period_s": 3600.0, "watch_change": 0.1}, follow_watched=False)
    robot.show(picture(1))
    robot.ask(Mode.WATCH)
    robot.wait(1)
    robot.show(picture(2))
    bright = picture(3)
    bright.rgb[:, 30:] = 255
    robot.show(bright)
    for tenth in range(4, 40):  # looked at twice a second at most
        if len(robot.outcomes) > 1:
            break
        threading.Event().wait(0.1)
        robot.show(Frame(bright.rgb, tenth * 100_000_000))
    robot.wait(2)
    assert robot.reasoner.stamps_ns[0] == 100_000_000
    assert robot.reasoner.stamps_ns[1] >= 300_000_000


def show_while_it_thinks(robot, *frames):
    """Show frames while the reasoner thinks about the question that is asked next."""
    thinking, gate = threading.Event(), threading.Event()

    def pause(frame):
        thinking.set()
        gate.wait(LIMIT_S)

    robot.reasoner.pause = pause
    assert thinking.wait(LIMIT_S)
    robot.show_all(*frames)
    gate.set()


def test_masks_go_on_while_a_watched_question_is_asked_again(start):
    robot = start({"watch_period_s": 0.2})
    robot.show(picture(1))
    robot.ask(Mode.WATCH)
    robot.wait(1)
    show_while_it_thinks(robot, picture(2), picture(3))
    robot.wait(4)
    assert [tenth for _, tenth, _ in robot.reported()[:4]] == [1, 2, 3, 3]
    assert [outcome.is_tracked for outcome in robot.outcomes[:4]] == [False, True, True, False]


def test_the_limit_of_masks_ends_a_watched_question_while_it_is_asked_again(start):
    robot = start({"watch_period_s": 0.2})
    robot.show(picture(1))
    robot.ask(Mode.WATCH, frames=3)
    robot.wait(1)
    show_while_it_thinks(robot, picture(2), picture(3))
    until(lambda: is_idle(robot.worker))
    assert robot.reported() == [("ok", 1, False), ("ok", 2, False), ("ok", 3, True)]


@pytest.mark.parametrize("frames", [0, 2])
def test_a_watched_target_that_is_gone_or_at_its_limit_is_no_longer_tracked(start, frames):
    robot = start({"watch_period_s": 0.2})
    robot.show(picture(1))
    robot.ask(Mode.WATCH, frames)
    robot.wait(1)
    robot.worker.buffer.clear()
    robot.worker._newest.forget()  # the next image is asked about before the follower has it
    frame = picture(2, hidden=True)
    robot.worker._tracking.show = lambda arrival: None
    robot.show(frame)
    assert robot.wait(2).answer.status is Status.NO_TARGET
    assert robot.worker.load().tracked == 0
    assert robot.outcomes[1].is_last == (frames == 2)


def test_a_changed_scene_is_seen_beside_a_target_that_is_tracked(start):
    """Which of the standing questions is due first does not matter."""
    robot = start({"watch_period_s": 3600.0, "watch_change": 0.1}, {"silent_error_s": 60.0}, follow_watched=False)
    robot.show(picture(1))
    robot.ask(Mode.TRACK, query_id="followed")
    robot.wait(1)
    robot.ask(Mode.WATCH, query_id="watched")
    robot.wait(2)
    bright = picture(2)
    bright.rgb[:, 30:] = 255
    robot.show(bright)
    until(lambda: robot.reasoner.stamps_ns[2:] == [bright.stamp_ns])


def test_nobody_waits_while_a_scene_is_looked_at(start):
    robot = start({"watch_period_s": 3600.0, "watch_change": 0.1}, follow_watched=False)
    robot.show(picture(1))
    robot.ask(Mode.WATCH)
    robot.wait(1)
    looking, gate = threading.Event(), threading.Event()

    def slow():
        looking.set()
        gate.wait(2 * LIMIT_S)
        return picture(2)

    robot.worker.show(Arrival(picture(2).stamp_ns, 1, slow))
    assert looking.wait(LIMIT_S)
    answered = threading.Event()
    threading.Thread(target=lambda: (robot.show(picture(3)), robot.worker.load(), answered.set()), daemon=True).start()
    in_time = answered.wait(LIMIT_S)
    gate.set()
    assert in_time


def test_an_image_is_compared_once_and_not_too_soon_after_another(monkeypatch):
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(scene_change, "time", SimpleNamespace(monotonic=lambda: now.s))
    dark, bright = (Frame(np.full((48, 64, 3), grey, np.uint8), stamp_ns=1) for grey in (0, 255))
    first, second = (Arrival(1, 1, lambda frame=frame: frame) for frame in (dark, bright))
    scene = SceneChange()
    assert scene.due_s(first, {}, 0.1) == math.inf  # nothing has been answered yet
    scenes = {"asked": thumbnail(dark.rgb)}
    assert scene.due_s(first, scenes, 0.0) == math.inf
    assert scene.due_s(first, scenes, 0.1) == 0
    assert scene.look(first, scenes, 0.1) == []
    assert scene.due_s(first, scenes, 0.1) == math.inf
    assert scene.due_s(second, scenes, 0.1) == pytest.approx(scene_change.PERIOD_S)
    now.s += 1
    assert scene.due_s(second, scenes, 0.1) == 0
    assert scene.look(second, scenes, 0.9) == ["asked"]
    assert scene.look(second, scenes, 1.0) == []


def test_an_image_that_cannot_be_read_changes_nothing():
    def broken():
        raise InvalidInput("cut in half")

    scenes = {"asked": np.zeros((24, 32), np.float32)}
    assert SceneChange().look(Arrival(1, 1, broken), scenes, 0.1) == []

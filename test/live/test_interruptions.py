"""What fails, is cancelled or switched off while an answer is propagated or tracked."""

import threading

import pytest

from reasonseg_ros.errors import ModelError
from reasonseg_ros.segmenter.scripted import ScriptedTracker
from reasonseg_ros.types import Mode, Status
from test.live.following.test_propagation import picture
from test.live.robot import LIMIT_S, is_idle, until


class Broken(ScriptedTracker):
    def step(self, features, stamp_ns):
        raise RuntimeError("the tracker fell over")


def test_a_tracker_that_always_fails_ends_the_following(start):
    robot = start({"ask_again": 2})
    robot.worker._propagator.make_tracker = Broken
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    for tenth in range(2, 5):
        robot.wait(2 * tenth - 3)
        robot.show(picture(tenth))
    robot.wait(6)
    assert [status for status, _, _ in robot.reported()] == ["ok", "lost"] * 3
    assert [is_last for _, _, is_last in robot.reported()] == [False] * 5 + [True]
    assert "fell over" in robot.outcomes[-1].answer.error
    assert is_idle(robot.worker)


def test_a_model_that_fails_while_catching_up_is_the_questions_status(start):
    robot = start()
    robot.worker._propagator.make_tracker = Broken
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(picture(2))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, "fell over" in outcome.answer.error) == (Status.FAILED, True)


class Slow(ScriptedTracker):
    """Says when it begins with an image, and waits with it."""

    begun = threading.Event()
    gate = threading.Event()

    def step(self, features, stamp_ns):
        self.begun.set()
        self.gate.wait(LIMIT_S)
        return super().step(features, stamp_ns)


@pytest.fixture
def slow():
    Slow.begun.clear()
    Slow.gate.clear()
    yield Slow
    Slow.gate.set()


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.TRACK])
def test_cancelled_while_it_catches_up(start, slow, mode):
    robot = start()
    robot.worker._propagator.make_tracker = slow
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 9)))
    request = robot.ask(mode)
    assert slow.begun.wait(LIMIT_S)
    robot.worker.cancel(request)
    slow.gate.set()
    outcome = robot.wait(1)
    assert (outcome.answer.status, outcome.is_last) == (Status.CANCELLED, True)
    until(lambda: is_idle(robot.worker))
    assert len(robot.outcomes) == 1


def test_deactivated_and_cleaned_up_while_it_catches_up(start, slow):
    robot = start()
    robot.worker._propagator.make_tracker = slow
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 9)))
    robot.ask(Mode.TRACK)
    assert slow.begun.wait(LIMIT_S)
    robot.worker.clear("the node was deactivated")
    robot.worker.forget_frames()
    threading.Timer(0.2, slow.gate.set).start()
    assert robot.worker.stop()
    assert [str(outcome.answer.status) for outcome in robot.outcomes] == ["cancelled"]
    assert "deactivated" in robot.outcomes[0].answer.error
    assert robot.worker.load().buffered_bytes == 0


def test_disabled_and_enabled_while_it_catches_up(start, slow):
    robot = start()
    robot.worker._propagator.make_tracker = slow
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(picture(2))
    robot.ask(Mode.TRACK)
    assert slow.begun.wait(LIMIT_S)
    robot.worker.enable(False)
    robot.show(picture(3))
    robot.worker.enable(True)
    slow.gate.set()
    robot.wait(1)
    robot.show_all(picture(4))
    assert robot.reported()[-1] == ("ok", 4, False)


class NotFinite(ScriptedTracker):
    def step(self, features, stamp_ns):
        raise ModelError("tracker's mask decoder: iou holds numbers that are not finite")


def test_a_tracker_whose_numbers_are_not_finite_is_a_failure_with_its_stage(start):
    robot = start({"ask_again": 2})
    robot.worker._propagator.make_tracker = NotFinite
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(2))
    last = robot.wait(2)
    assert [status for status, _, _ in robot.reported()] == ["ok", "failed"]
    assert last.is_last and last.answer.error.startswith("tracking: tracker's mask decoder")
    assert is_idle(robot.worker)

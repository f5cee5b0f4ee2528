"""A model that never returns: every question ends once and says why, and the worker goes on if the model does."""

import threading
import time

import pytest

from reasonseg_ros.live.vitals import Vitals
from reasonseg_ros.types import Answer, Mode, Status
from test.live.following.test_propagation import picture
from test.live.robot import is_idle, until

HANG = {"hang_s": 0.5}


@pytest.fixture
def stuck():
    """Waits until it is set; a test that fails releases its threads."""
    event = threading.Event()
    yield event
    event.set()


def test_all_questions_end_when_the_reasoner_hangs_and_new_ones_are_refused_until_it_returns(start, stuck):
    robot = start(HANG)
    robot.show(picture(5))
    robot.reasoner.pause = lambda frame: stuck.wait()
    robot.ask(query_id="running")
    robot.ask(query_id="waiting")
    robot.wait(2)
    for outcome in robot.outcomes:
        assert (outcome.answer.status, outcome.is_last) == (Status.FAILED, True)
        assert outcome.answer.error.endswith("while reasoning; restart the node")
    robot.ask(query_id="after")
    assert robot.wait(3).answer.status is Status.REFUSED
    assert "no sign of life" in robot.worker.load().hang
    stuck.set()
    until(lambda: not robot.worker.load().hang and is_idle(robot.worker))
    robot.ask(query_id="again")
    assert robot.wait(4).answer.status is Status.OK
    assert [one.question.query.query_id for one in robot.outcomes] == ["waiting", "running", "after", "again"]


def test_a_question_that_was_cancelled_ends_as_cancelled_when_the_reasoner_hangs(start, stuck):
    robot = start(HANG)
    robot.show(picture(5))
    robot.reasoner.pause = lambda frame: stuck.wait()
    question = robot.ask()
    until(lambda: robot.worker.load().running)
    robot.worker.cancel(question)
    outcome = robot.wait(1)
    assert (outcome.answer.status, outcome.answer.error) == (Status.CANCELLED, "cancelled on request")


def test_a_tracked_target_ends_when_its_step_hangs(start, stuck, monkeypatch):
    robot = start(HANG)
    robot.show(picture(5))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    segmenter = robot.worker.method.segmenter
    encode = segmenter.encode
    monkeypatch.setattr(segmenter, "encode", lambda rgb: stuck.wait() and encode(rgb))
    robot.show(picture(6))
    outcome = robot.wait(2)
    assert (outcome.answer.status, outcome.is_last) == (Status.FAILED, True)
    assert "while tracking" in outcome.answer.error
    stuck.set()
    until(lambda: not robot.worker.load().hang and is_idle(robot.worker))
    robot.show(picture(7))
    robot.ask(query_id="again")
    assert robot.wait(3).answer.status is Status.OK


def test_a_slow_answer_whose_tokens_come_is_no_hang(start, monkeypatch):
    robot = start(HANG)
    robot.show(picture(5))

    def answer(frame, text, call):
        end_s = time.monotonic() + 4 * HANG["hang_s"]
        while time.monotonic() < end_s:
            assert not call.cancelled()
            time.sleep(0.01)
        return Answer(Status.NO_TARGET)

    monkeypatch.setattr(robot.reasoner, "answer", answer)
    robot.ask()
    assert robot.wait(1).answer.status is Status.NO_TARGET


def test_a_question_that_waits_for_an_image_is_no_hang(start):
    robot = start(HANG | {"frame_wait_s": 1.2})
    robot.ask()
    assert robot.wait(1).answer.status is Status.NO_FRAME


def test_a_thread_that_rests_cannot_hang_and_no_limit_is_no_watch(monkeypatch):
    vitals, now_s = Vitals(), 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    vitals.begin("segmenting")
    now_s = 105.0
    assert (vitals.hang(6.0), vitals.hang(0.0)) == ("", "")
    assert vitals.hang(4.0) == "no sign of life for 5 s while segmenting"
    vitals.go_on()
    assert vitals.hang(4.0) == ""
    vitals.rest()
    now_s = 200.0
    assert vitals.hang(4.0) == ""

"""The worker without ROS: what the node's tests cannot time exactly."""

import threading
import time

import numpy as np
import pytest

from reasonseg_ros.config import Config, QueryConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.questions import Question
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.worker import Worker
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Grounding, Mode, Query, Status
from test.live.robot import LIMIT_S

FRAME = Frame(np.zeros((8, 8, 3), np.uint8), stamp_ns=1)
BOX = Grounding(np.array([1, 1, 5, 5], np.float32))


class GatedReasoner(Reasoner):
    """Thinks until its gate opens or the question is cancelled; remembers which frames it saw, with which limits."""

    name = "gated"

    def __init__(self):
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.seen = []

    def answer(self, frame, text, call=WAIT):
        self.seen.append((text, frame.stamp_ns, call.max_new_tokens, call.time_limit_s))
        self.begun.set()
        while not self.gate.wait(0.005):
            if call.cancelled():
                return Answer(Status.CANCELLED, error="cancelled")
        return Answer(Status.OK, groundings=(BOX,))


class Desk:
    """A worker with its reasoner, and the outcomes in the order in which they came."""

    def __init__(self, **query):
        self.reasoner = GatedReasoner()
        self.outcomes = []
        self.arrived = threading.Condition()
        self.settings = Settings(Config(query=QueryConfig(**{"frame_wait_s": 0.2, **query})))
        self.worker = Worker(SegZero(self.reasoner, ScriptedSegmenter("box"), self.settings))
        self.worker.start()

    def take(self, outcome):
        with self.arrived:
            self.outcomes.append(outcome)
            self.arrived.notify_all()

    def show(self, frame):
        self.worker.show(Arrival(frame.stamp_ns, frame.rgb.nbytes, lambda: frame))

    def ask(self, text, frame=FRAME, mode=Mode.ONCE, **more):
        if mode is not Mode.ONCE:
            self.show(frame)
            frame = None
        question = Question(Query(text, text, mode), self.take, frame=frame, **more)
        self.worker.submit(question)
        return question

    def ended(self, count):
        """(question, status) of the first `count` outcomes, once they are there."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.outcomes) >= count, LIMIT_S), self.outcomes
        return [(outcome.question.query.text, str(outcome.answer.status)) for outcome in self.outcomes[:count]]


@pytest.fixture
def open_desk():
    desks = []

    def start(**query):
        desks.append(Desk(**query))
        return desks[-1]

    yield start
    for desk in desks:
        assert desk.worker.stop()


def test_questions_are_answered_in_their_order(open_desk):
    desk = open_desk()
    for text in "abc":
        desk.ask(text)
    assert desk.reasoner.begun.wait(LIMIT_S)
    assert desk.worker.load().waiting == 2
    desk.reasoner.gate.set()
    assert desk.ended(3) == [("a", "ok"), ("b", "ok"), ("c", "ok")]
    assert desk.outcomes[0].segmentation.regions[0].mask.sum() == 16


def test_the_newest_frame_when_its_turn_comes_is_looked_at(open_desk):
    desk = open_desk()
    desk.ask("a")
    desk.ask("b", frame=None)
    assert desk.reasoner.begun.wait(LIMIT_S)
    for stamp_ns in (5, 6):
        desk.show(Frame(FRAME.rgb, stamp_ns))
    desk.reasoner.gate.set()
    desk.ended(2)
    assert [seen[1] for seen in desk.reasoner.seen] == [1, 6]


def test_an_unusable_frame_is_skipped_and_named_when_none_follows(open_desk):
    def broken():
        raise InvalidInput("cut in half")

    desk = open_desk(frame_wait_s=0.1)
    desk.worker.show(Arrival(1, 1, broken))
    desk.ask("a", frame=None)
    assert desk.ended(1) == [("a", "no_frame")]
    assert "cut in half" in desk.outcomes[0].answer.error


def test_limits_come_from_the_request_else_from_the_settings_of_the_moment(open_desk):
    desk = open_desk()
    desk.reasoner.gate.set()
    desk.ask("a", call=Call(max_new_tokens=7, time_limit_s=1.5))
    desk.ended(1)
    desk.settings.change(Config())
    desk.ask("b")
    desk.ended(2)
    assert [seen[2:] for seen in desk.reasoner.seen] == [(7, 1.5), (0, 60.0)]


def test_replace_ends_everything_older(open_desk):
    desk = open_desk(policy="replace")
    desk.ask("watched", mode=Mode.WATCH)
    assert desk.reasoner.begun.wait(LIMIT_S)
    desk.ask("newer")
    assert desk.ended(1) == [("watched", "cancelled")]
    desk.reasoner.gate.set()
    assert desk.ended(2)[1] == ("newer", "ok")
    assert desk.worker.load().standing == 0


def test_a_watched_question_sent_again_stands_once(open_desk):
    desk = open_desk(watch_period_s=60.0)
    desk.reasoner.gate.set()
    for count in (1, 3, 5):  # the one before ends each time
        desk.ask("w", mode=Mode.WATCH)
        desk.ended(count)
    assert desk.worker.load().standing == 1


def test_a_new_question_goes_before_a_standing_one(open_desk):
    desk = open_desk(watch_period_s=0.1)
    desk.ask("w", mode=Mode.WATCH)
    assert desk.reasoner.begun.wait(LIMIT_S)
    time.sleep(0.15)
    desk.ask("new")
    desk.reasoner.gate.set()
    assert desk.ended(3) == [("w", "ok"), ("new", "ok"), ("w", "ok")]


def test_disabled_lets_standing_questions_rest(open_desk):
    desk = open_desk(watch_period_s=0.1)
    desk.reasoner.gate.set()
    desk.ask("w", mode=Mode.WATCH)
    desk.ended(1)
    desk.worker.enable(False)
    desk.ask("new")
    assert ("new", "refused") in desk.ended(len(desk.outcomes))
    count = len(desk.outcomes)
    time.sleep(0.3)
    assert len(desk.outcomes) == count
    desk.worker.enable(True)
    desk.ended(count + 1)


def test_stop_ends_waiting_and_running_questions_and_refuses_later_ones(open_desk):
    desk = open_desk()
    desk.ask("running")
    desk.ask("waiting")
    assert desk.reasoner.begun.wait(LIMIT_S)
    assert desk.worker.stop()
    desk.ask("late")
    ended = dict(desk.ended(3))
    assert ended == {"running": "cancelled", "waiting": "cancelled", "late": "refused"}


def test_every_question_of_many_threads_ends_exactly_once(open_desk):
    desk = open_desk(queue_size=5)
    desk.reasoner.gate.set()

    def client(name):
        for number in range(20):
            request = desk.ask(f"{name}{number}")
            if number % 3 == 0:
                desk.worker.cancel(request)
            if number % 7 == 0:
                desk.worker.clear()

    threads = [threading.Thread(target=client, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = [text for text, _ in desk.ended(60)]
    time.sleep(0.1)
    assert len(desk.outcomes) == 60
    assert len(set(asked)) == 60

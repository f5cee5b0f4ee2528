"""Images that are made ready while nothing is asked."""

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
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Frame, Query, Status
from test.live.robot import LIMIT_S

TEXT = '<think>here</think><answer>[{"bbox_2d":[1,1,5,5]}]</answer>'


class Preparing(SegZero):
    """Counts the frames that it prepares; the gate holds it up in the middle of that."""

    def __init__(self, config):
        super().__init__(ScriptedReasoner([TEXT]), ScriptedSegmenter("box"), config)
        self.prepared = []
        self.gate = threading.Event()
        self.gate.set()
        self.finished = threading.Semaphore(0)
        self.is_wanted_then = []
        self.error = None

    def prepare(self, frame, is_wanted=lambda: True):
        self.prepared.append(frame.stamp_ns)
        assert self.gate.wait(LIMIT_S)
        self.is_wanted_then.append(is_wanted())
        self.finished.release()
        if self.error:
            raise self.error


def arrival(stamp_ns):
    frame = Frame(np.zeros((8, 8, 3), np.uint8), stamp_ns)
    return Arrival(stamp_ns, frame.rgb.nbytes, lambda: frame)


@pytest.fixture
def start():
    workers = []

    def begin(**query):
        config = Config(query=QueryConfig(**query))
        workers.append(Worker(Preparing(config)))
        workers[-1].start()
        return workers[-1]

    yield begin
    for worker in workers:
        worker.method.gate.set()
        assert worker.stop()


def ask(worker, text="a"):
    outcomes, done = [], threading.Event()
    worker.submit(Question(Query(text), lambda outcome: (outcomes.append(outcome), done.set())))
    return outcomes, done


def answered(worker):
    outcomes, done = ask(worker)
    assert done.wait(LIMIT_S)
    return outcomes[0]


def test_nothing_is_prepared_by_default(start):
    worker = start()
    worker.show(arrival(1))
    assert answered(worker).answer.status is Status.OK
    assert worker.method.prepared == []


def test_a_question_is_about_the_prepared_image_while_that_is_young(start):
    worker = start(prepare="idle", prepare_period_s=3600.0)
    worker.show(arrival(1))
    assert worker.method.finished.acquire(timeout=LIMIT_S)
    worker.show(arrival(2))
    outcome = answered(worker)
    assert (outcome.answer.status, outcome.frame.stamp_ns) == (Status.OK, 1)
    assert worker.method.prepared == [1]
    worker.forget_frames()
    worker.show(arrival(3))
    assert answered(worker).frame.stamp_ns == 3


@pytest.mark.parametrize("restart", ["forget", "stamps go back"])
def test_an_image_that_is_being_prepared_when_the_stream_begins_again_is_not_asked_about(start, restart):
    worker = start(prepare="idle", prepare_period_s=3600.0)
    loading, gate = threading.Event(), threading.Event()
    before = Frame(np.zeros((8, 8, 3), np.uint8), 5_000_000_000)

    def load():
        loading.set()
        assert gate.wait(LIMIT_S)
        return before

    worker.show(Arrival(before.stamp_ns, 192, load))
    assert loading.wait(LIMIT_S)
    if restart == "forget":
        worker.forget_frames()
        worker.show(arrival(before.stamp_ns + 1))
    else:
        worker.show(arrival(1))
    gate.set()
    expected = before.stamp_ns + 1 if restart == "forget" else 1
    assert answered(worker).frame.stamp_ns == expected


def test_images_are_prepared_no_more_often_than_the_period(start):
    worker = start(prepare="idle", prepare_period_s=0.2)
    begin_s = time.monotonic()
    for stamp_ns in range(1, 4):
        worker.show(arrival(stamp_ns))
        assert worker.method.finished.acquire(timeout=LIMIT_S)
    assert time.monotonic() - begin_s >= 0.4
    assert worker.method.prepared == [1, 2, 3]


def test_after_an_answer_nothing_stands_in_the_way_of_the_next_question_for_a_period(start):
    worker = start(prepare="idle", prepare_period_s=0.5)
    done = threading.Event()
    frame = Frame(np.zeros((8, 8, 3), np.uint8))
    worker.submit(Question(Query("a"), lambda outcome: done.set(), frame=frame))
    assert done.wait(LIMIT_S)
    answered_s = time.monotonic()
    worker.show(arrival(1))
    assert worker.method.finished.acquire(timeout=LIMIT_S)
    assert time.monotonic() - answered_s >= 0.3


def test_a_question_that_comes_meanwhile_waits_for_the_running_stage_alone(start):
    worker = start(prepare="idle", prepare_period_s=3600.0)
    worker.method.gate.clear()
    worker.show(arrival(1))
    while not worker.method.prepared:
        time.sleep(0.001)
    _, done = ask(worker)
    worker.method.gate.set()
    assert done.wait(LIMIT_S)
    assert worker.method.is_wanted_then == [False]


@pytest.mark.parametrize("error", [InvalidInput("cut in half"), RuntimeError("a library's own")])
def test_a_failure_is_reported_when_a_question_arrives(start, error):
    worker = start(prepare="idle", prepare_period_s=0.05)
    worker.method.error = error
    worker.show(arrival(1))
    assert worker.method.finished.acquire(timeout=LIMIT_S)
    assert worker.method.finished.acquire(timeout=LIMIT_S)
    outcome = answered(worker)
    assert (outcome.answer.status, outcome.frame.stamp_ns) == (Status.OK, 1)


def test_a_disabled_node_prepares_nothing(start):
    worker = start(prepare="idle", prepare_period_s=0.05)
    worker.enable(False)
    worker.show(arrival(1))
    assert not worker.method.finished.acquire(timeout=0.2)
    worker.enable(True)
    assert worker.method.finished.acquire(timeout=LIMIT_S)

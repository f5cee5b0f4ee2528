"""Many questions at once: each ends once, and nothing is left of it."""

import gc
import threading
import time

from reasonseg_ros.live.questions import Outcome, Question
from reasonseg_ros.segmenter.scripted import ScriptedTracker
from reasonseg_ros.types import Frame, Mode, Status
from test.live.following.test_propagation import picture
from test.live.robot import LIMIT_S, is_idle, until


def test_fifty_questions_of_all_kinds_at_once_each_end_once(start):
    robot = start({"queue_size": 8, "watch_period_s": 0.1})
    robot.show(*map(picture, range(1, 4)))
    modes = [Mode.ONCE, Mode.WATCH, Mode.TRACK, Mode.HISTORY, Mode.TRACK]

    def client(first):
        for number in range(first, first + 10):
            request = robot.ask(modes[number % 5], frames=number % 3, query_id=f"{number}")
            if number % 4 == 0:
                robot.worker.cancel(request)

    threads = [threading.Thread(target=client, args=(10 * i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for tenth in range(4, 30):
        robot.show(picture(tenth))
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    robot.worker.clear()
    until(lambda: is_idle(robot.worker))
    reported = {}
    for outcome in list(robot.outcomes):
        reported.setdefault(outcome.question.query.query_id, []).append(outcome)
    assert len(reported) == 50
    for outcomes in reported.values():
        assert [outcome.is_last for outcome in outcomes] == [False] * (len(outcomes) - 1) + [True]
        assert outcomes[-1].answer.status in (Status.OK, Status.REFUSED, Status.CANCELLED)


def test_refusing_while_busy_bounds_what_is_tracked_as_well(start):
    robot = start({"policy": "refuse", "queue_size": 2})
    robot.show(picture(1))
    for number in range(1, 4):
        until(lambda: not robot.worker.load().running)
        robot.ask(Mode.TRACK, query_id=f"{number}")
        robot.wait(number)
    assert [str(outcome.answer.status) for outcome in robot.outcomes] == ["ok", "ok", "refused"]
    assert robot.worker.load().tracked == 2


def test_cancelled_in_the_middle_of_a_flow_of_masks_nothing_comes_after_the_end(start):
    robot = start({"queue_size": 100})
    robot.show(picture(0))
    requests = [robot.ask(Mode.TRACK, query_id=f"{number}") for number in range(12)]
    robot.wait(12)
    for tenth, request in enumerate(requests, start=1):
        robot.show(picture(tenth))
        robot.worker.cancel(request)
    until(lambda: is_idle(robot.worker))
    time.sleep(0.1)
    ended = {}
    for outcome in robot.outcomes:
        key = outcome.question.query.query_id
        assert key not in ended, (key, ended[key], outcome)
        if outcome.is_last:
            ended[key] = outcome
    assert len(ended) == 12


def test_nothing_is_left_of_questions_that_have_ended(start):
    gc.collect()
    before = count_alive(Question, Outcome, ScriptedTracker)
    robot = start({"queue_size": 1000})
    stamp = 0
    for number in range(25):
        for mode in (Mode.ONCE, Mode.TRACK, Mode.WATCH, Mode.HISTORY):
            request = robot.ask(mode, frames=2, query_id=f"{number} {mode}")
        for _ in range(4):
            stamp += 1
            robot.show(Frame(picture(stamp % 40).rgb, stamp * 100_000_000))
            time.sleep(0.002)
        robot.worker.cancel(request)
    robot.worker.clear()
    until(lambda: is_idle(robot.worker))
    assert robot.worker.rest(LIMIT_S)
    last = {outcome.question.query.query_id for outcome in robot.outcomes if outcome.is_last}
    assert len(last) == 100
    del request
    robot.outcomes.clear()
    gc.collect()
    # What the threads were at last stays until they are at something else; of frames, ten seconds are kept.
    assert count_alive(Question, Outcome, ScriptedTracker) - before <= 10
    assert len(robot.worker.buffer) <= 102


def count_alive(*kinds):
    return sum(type(item) in kinds for item in gc.get_objects())


def test_resting_waits_until_the_running_question_is_reported(start):
    robot = start()
    gate = threading.Event()
    robot.reasoner.pause = lambda frame: gate.wait(LIMIT_S)
    robot.show(picture(1))
    robot.ask()
    until(lambda: robot.worker.load().running)
    assert not robot.worker.rest(0.05)
    threading.Timer(0.1, gate.set).start()
    assert robot.worker.rest(LIMIT_S)
    assert len(robot.outcomes) == 1


def test_there_is_never_more_than_one_answer_in_flight(start):
    robot = start({"queue_size": 50, "watch_period_s": 0.1})
    thinking, most = [], []

    def pause(frame):
        thinking.append(frame)
        most.append(len(thinking))
        time.sleep(0.005)
        thinking.pop()

    robot.reasoner.pause = pause
    robot.show(picture(1))
    for number, mode in enumerate([Mode.WATCH, Mode.TRACK, Mode.ONCE] * 6):
        robot.ask(mode, query_id=f"{number}")
        robot.show(picture(2 + number))
    until(lambda: len(most) >= 40)  # the watched ones are asked again and again
    assert set(most) == {1}

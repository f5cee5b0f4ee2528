"""Streams and questions as they should not be: each ends in a stated status, and nothing is left behind."""

import gc
import threading
import time

import numpy as np
import pytest

from reasonseg_ros.live.following import Follower
from reasonseg_ros.live.frame_buffer import Arrival
from reasonseg_ros.live.requests import Outcome, Request
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.types import Frame, Mode, Status
from test.live.robot import left_px
from test.live.test_carrying import FIRST, answered, picture

SILENT = {"silent_error_s": 0.3}


def is_idle(worker):
    load = worker.load()
    return not (load.running or load.waiting or load.standing or load.followed)


def until(done):
    deadline_s = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_bag_that_loops_within_the_buffer_is_told_and_followed_on(start):
    robot = start()
    robot.show(*map(picture, range(5, 25)))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(5))  # the very first image again
    robot.wait(3)
    robot.show_all(picture(6))
    assert [status for status, _, _ in robot.told()] == ["ok", "lost", "ok", "ok"]
    assert "began again" in robot.outcomes[1].answer.error
    assert (left_px(robot.outcomes[-1]), robot.outcomes[-1].is_last) == (6, False)


def test_a_stream_that_begins_again_while_it_thinks_is_asked_about_anew(start):
    robot = start()
    robot.show(picture(20), picture(21))
    robot.reasoner.pause = lambda frame: frame.stamp_ns == 2_100_000_000 and robot.show(picture(3), picture(25))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, left_px(outcome)) == (Status.OK, 25)
    assert robot.reasoner.stamps_ns == [2_100_000_000, 2_500_000_000]


def test_a_stream_that_begins_again_whenever_it_thinks_is_lost(start):
    robot = start({"ask_again": 2})
    robot.show(picture(20))
    robot.reasoner.pause = lambda frame: robot.show(picture(3), picture(20))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, len(robot.reasoner.stamps_ns)) == (Status.LOST, 3)
    assert "began again" in outcome.answer.error


def test_a_stream_that_begins_again_before_the_following_does(start):
    robot = start(carry=False)
    robot.show(picture(20))
    robot.reasoner.pause = lambda frame: frame.stamp_ns == 2 * 10**9 and robot.show(picture(3))
    robot.ask(Mode.TRACK)
    robot.wait(2)
    robot.show_all(picture(4))
    assert robot.told() == [("lost", 20, False), ("ok", 3, False), ("ok", 4, False)]


def test_repeated_stamps_are_not_followed_to_and_end_as_no_frame(start):
    robot = start({"frame_wait_s": 0.2}, SILENT)
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(1), picture(1))
    outcome = robot.wait(2)
    assert (outcome.answer.status, outcome.is_last) == (Status.NO_FRAME, True)
    assert "stamps" in outcome.answer.error
    until(lambda: is_idle(robot.worker))


def test_a_camera_that_stops_ends_what_is_followed(start):
    robot = start({"frame_wait_s": 0.2}, SILENT)
    robot.show(picture(1))
    robot.ask(Mode.TRACK, query_id="followed")
    robot.wait(1)
    outcome = robot.wait(2)
    assert (outcome.answer.status, outcome.is_last) == (Status.NO_FRAME, True)
    assert "no newer image" in outcome.answer.error
    robot.ask(query_id="once")  # the answer's stamp says how old it is
    assert robot.wait(3).answer.status is Status.OK
    assert is_idle(robot.worker)


def test_a_watched_question_outlasts_a_camera_that_stops(start):
    robot = start({"frame_wait_s": 0.1, "watch_period_s": 0.3}, SILENT)
    robot.show(picture(1))
    request = robot.ask(Mode.WATCH)
    until(lambda: any(outcome.answer.status is Status.NO_FRAME for outcome in robot.outcomes))
    count = len(robot.outcomes)
    robot.show(picture(2))
    until(lambda: any(outcome.answer.status is Status.OK for outcome in robot.outcomes[count:]))
    assert not any(outcome.is_last for outcome in robot.outcomes)
    robot.worker.cancel(request)
    until(lambda: robot.outcomes[-1].is_last)


def test_a_camera_that_changes_its_size_is_told_and_followed_on(start):
    robot = start()
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(2, size_wh=(80, 20)))
    robot.wait(3)
    robot.show_all(picture(3, size_wh=(80, 20)))
    assert [status for status, _, _ in robot.told()] == ["ok", "lost", "ok", "ok"]
    assert "image size" in robot.outcomes[1].answer.error
    assert robot.outcomes[-1].segmentation.regions[0].mask.shape == (20, 80)


def test_a_camera_that_changes_its_size_while_it_thinks_is_asked_about_anew(start):
    robot = start()
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: frame.size_wh == (60, 12) and robot.show(picture(2, size_wh=(80, 20)))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, outcome.frame.size_wh) == (Status.OK, (80, 20))


def test_an_answer_whose_image_left_the_buffer_is_carried_all_the_same(start):
    robot = start(buffer_s=0.5)
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 31)))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, left_px(outcome)) == (Status.OK, 30)
    assert outcome.segmentation.reasoned_stamp_ns == 100_000_000
    assert len(robot.worker.buffer) <= 7


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
    told = {}
    for outcome in list(robot.outcomes):
        told.setdefault(outcome.request.query.query_id, []).append(outcome)
    assert len(told) == 50
    for outcomes in told.values():
        assert [outcome.is_last for outcome in outcomes] == [False] * (len(outcomes) - 1) + [True]
        assert outcomes[-1].answer.status in (Status.OK, Status.REFUSED, Status.CANCELLED)


def test_refusing_while_busy_bounds_what_is_followed_as_well(start):
    robot = start({"policy": "refuse", "queue_size": 2})
    robot.show(picture(1))
    for number in range(1, 4):
        until(lambda: not robot.worker.load().running)
        robot.ask(Mode.TRACK, query_id=f"{number}")
        robot.wait(number)
    assert [str(outcome.answer.status) for outcome in robot.outcomes] == ["ok", "ok", "refused"]
    assert robot.worker.load().followed == 2


def test_masks_go_on_while_a_watched_question_is_asked_again(start):
    robot = start({"watch_period_s": 0.2})
    robot.show(picture(1))
    robot.ask(Mode.WATCH)
    robot.wait(1)
    thinking, gate = threading.Event(), threading.Event()

    def pause(frame):
        thinking.set()
        gate.wait(10)

    robot.reasoner.pause = pause
    assert thinking.wait(10)
    robot.show_all(picture(2), picture(3))
    gate.set()
    robot.wait(4)
    assert [tenth for _, tenth, _ in robot.told()[:4]] == [1, 2, 3, 3]
    assert [outcome.is_followed for outcome in robot.outcomes[:4]] == [False, True, True, False]


def test_so_many_masks_end_a_watched_question_while_it_is_asked_again(start):
    robot = start({"watch_period_s": 0.2})
    robot.show(picture(1))
    robot.ask(Mode.WATCH, frames=3)
    robot.wait(1)
    thinking, gate = threading.Event(), threading.Event()

    def pause(frame):
        thinking.set()
        gate.wait(10)

    robot.reasoner.pause = pause
    assert thinking.wait(10)
    robot.show_all(picture(2), picture(3))
    gate.set()
    until(lambda: is_idle(robot.worker))
    assert robot.told() == [("ok", 1, False), ("ok", 2, False), ("ok", 3, True)]


@pytest.mark.parametrize("frames", [0, 2])
def test_a_watched_target_that_is_gone_or_told_often_enough_is_followed_no_longer(start, frames):
    robot = start({"watch_period_s": 0.2})
    robot.show(picture(1))
    robot.ask(Mode.WATCH, frames)
    robot.wait(1)
    robot.worker.buffer.clear()
    robot.worker._newest.forget()  # the next image is asked about before the follower has it
    frame = picture(2, hidden=True)
    robot.worker._follower.show = lambda arrival: None
    robot.show(frame)
    assert robot.wait(2).answer.status is Status.NO_TARGET
    assert robot.worker.load().followed == 0
    assert robot.outcomes[1].is_last == (frames == 2)


class Broken(ScriptedTracker):
    def step(self, features, stamp_ns):
        raise RuntimeError("the tracker fell over")


def test_a_tracker_that_always_fails_ends_the_following(start):
    robot = start({"ask_again": 2})
    robot.worker._carrier.make_tracker = Broken
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    for tenth in range(2, 5):
        robot.wait(2 * tenth - 3)
        robot.show(picture(tenth))
    robot.wait(6)
    assert [status for status, _, _ in robot.told()] == ["ok", "lost"] * 3
    assert [is_last for _, _, is_last in robot.told()] == [False] * 5 + [True]
    assert "fell over" in robot.outcomes[-1].answer.error
    assert is_idle(robot.worker)


def test_a_model_that_fails_while_catching_up_is_the_questions_status(start):
    robot = start()
    robot.worker._carrier.make_tracker = Broken
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
        self.gate.wait(10)
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
    robot.worker._carrier.make_tracker = slow
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 9)))
    request = robot.ask(mode)
    assert slow.begun.wait(10)
    robot.worker.cancel(request)
    slow.gate.set()
    outcome = robot.wait(1)
    assert (outcome.answer.status, outcome.is_last) == (Status.CANCELLED, True)
    until(lambda: is_idle(robot.worker))
    assert len(robot.outcomes) == 1


def test_deactivated_and_cleaned_up_while_it_catches_up(start, slow):
    robot = start()
    robot.worker._carrier.make_tracker = slow
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 9)))
    robot.ask(Mode.TRACK)
    assert slow.begun.wait(10)
    robot.worker.clear("the node was deactivated")
    robot.worker.forget_frames()
    threading.Timer(0.2, slow.gate.set).start()
    assert robot.worker.stop()
    assert [str(outcome.answer.status) for outcome in robot.outcomes] == ["cancelled"]
    assert "deactivated" in robot.outcomes[0].answer.error
    assert robot.worker.load().buffered_bytes == 0


def test_disabled_and_enabled_while_it_catches_up(start, slow):
    robot = start()
    robot.worker._carrier.make_tracker = slow
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(picture(2))
    robot.ask(Mode.TRACK)
    assert slow.begun.wait(10)
    robot.worker.enable(False)
    robot.show(picture(3))
    robot.worker.enable(True)
    slow.gate.set()
    robot.wait(1)
    robot.show_all(picture(4))
    assert robot.told()[-1] == ("ok", 4, False)


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
        key = outcome.request.query.query_id
        assert key not in ended, (key, ended[key], outcome)
        if outcome.is_last:
            ended[key] = outcome
    assert len(ended) == 12


def test_nothing_is_left_of_questions_that_have_ended(start):
    gc.collect()
    before = count_alive(Request, Outcome, ScriptedTracker)
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
    assert robot.worker.rest(10)
    last = {outcome.request.query.query_id for outcome in robot.outcomes if outcome.is_last}
    assert len(last) == 100
    del request
    robot.outcomes.clear()
    gc.collect()
    # What the threads were at last stays until they are at something else; of frames, ten seconds are kept.
    assert count_alive(Request, Outcome, ScriptedTracker) - before <= 10
    assert len(robot.worker.buffer) <= 102


def count_alive(*kinds):
    return sum(type(item) in kinds for item in gc.get_objects())


def test_a_slow_rate_of_following_does_not_hold_up_the_end():
    told = threading.Event()
    follower = Follower(ScriptedSegmenter(), lambda key, masks: told.set(), max_rate_hz=0.01)
    first, second = picture(1), picture(2)
    tracker = ScriptedTracker()
    tracker.add(ScriptedSegmenter().encode(first.rgb), [FIRST], first.stamp_ns)
    follower.follow("key", answered(first, FIRST), tracker)
    follower.start()
    follower.show(Arrival(second.stamp_ns, 0, lambda: second))
    assert told.wait(10)
    assert follower.stop(5.0)


@pytest.mark.parametrize("width", [1, 60])
def test_a_target_of_one_pixel_and_one_that_fills_the_image(start, width):
    def frame(tenth):
        rgb = np.zeros((12, 60, 3), np.uint8)
        rgb[: 12 if width == 60 else 1, :width] = (200, 0, 0)
        return Frame(rgb, tenth * 100_000_000)

    robot = start()
    robot.show(frame(1))
    robot.reasoner.pause = lambda seen: robot.show(frame(2))
    robot.ask(Mode.TRACK, frames=3)
    robot.wait(1)
    robot.show_all(frame(3), frame(4))
    assert [status for status, _, _ in robot.told()] == ["ok"] * 3
    assert {int(outcome.segmentation.mask.sum()) for outcome in robot.outcomes} == {width * (12 if width == 60 else 1)}


def test_resting_waits_until_the_running_question_is_told(start):
    robot = start()
    gate = threading.Event()
    robot.reasoner.pause = lambda frame: gate.wait(10)
    robot.show(picture(1))
    robot.ask()
    until(lambda: robot.worker.load().running)
    assert not robot.worker.rest(0.05)
    threading.Timer(0.1, gate.set).start()
    assert robot.worker.rest(10)
    assert len(robot.outcomes) == 1

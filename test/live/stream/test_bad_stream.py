"""Streams as they should not be: each ends in a stated status, and what can be followed is followed on."""

import time
from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.types import Frame, Mode, Status
from test.live.following.test_propagation import picture
from test.live.robot import is_idle, left_px, until

SILENT = {"silent_error_s": 0.3}


def test_a_bag_that_loops_within_the_buffer_is_reported_and_tracking_continues(start):
    robot = start()
    robot.show(*map(picture, range(5, 25)))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(5))  # the very first image again
    robot.wait(3)
    robot.show_all(picture(6))
    assert [status for status, _, _ in robot.reported()] == ["ok", "lost", "ok", "ok"]
    assert "began again" in robot.outcomes[1].answer.error
    assert (left_px(robot.outcomes[-1]), robot.outcomes[-1].is_last) == (6, False)


def test_a_stream_that_restarts_during_an_answer_is_asked_about_again(start):
    robot = start()
    robot.show(picture(20), picture(21))
    robot.reasoner.pause = lambda frame: frame.stamp_ns == 2_100_000_000 and robot.show(picture(3), picture(25))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, left_px(outcome)) == (Status.OK, 25)
    assert robot.reasoner.stamps_ns == [2_100_000_000, 2_500_000_000]


@pytest.mark.parametrize("restarts", [True, False])
def test_what_happened_before_the_stream_began_again_is_not_answered_from_after_it(start, restarts):
    robot = start()
    robot.show(*map(picture, range(20, 25)))
    robot.reasoner.pause = lambda frame: robot.ask(Mode.HISTORY, query_id="h") and restarts and robot.show(picture(3))
    robot.ask(query_id="first", frame=picture(7))
    robot.wait(1)
    robot.reasoner.pause = lambda frame: None
    past = robot.wait(2)
    if restarts:
        assert past.answer.status is Status.NO_FRAME and "began again after the question" in past.answer.error
    robot.ask(Mode.HISTORY)
    assert (robot.wait(3).answer.status, left_px(robot.outcomes[2])) == (Status.OK, 3 if restarts else 24)


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
    assert robot.reported() == [("lost", 20, False), ("ok", 3, False), ("ok", 4, False)]


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


@pytest.mark.parametrize(("max_age_s", "status"), [(0.2, Status.NO_FRAME), (60.0, Status.OK)])
def test_what_happened_is_not_answered_from_an_image_of_long_ago_if_stamps_stand_still(start, max_age_s, status):
    robot = start({"frame_wait_s": 0.05, "image_max_age_s": max_age_s})
    robot.show(picture(0))
    time.sleep(0.3)
    for tenth in range(1, 4):
        robot.show(replace(picture(tenth), stamp_ns=0))
    robot.ask(Mode.HISTORY)
    outcome = robot.wait(1)
    assert outcome.answer.status is status
    assert "stamps" in outcome.answer.error if status is Status.NO_FRAME else left_px(outcome) == 0
    robot.ask(query_id="now")
    assert left_px(robot.wait(2)) == 3


def test_a_camera_that_stops_ends_what_is_tracked(start):
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


def test_a_camera_that_changes_its_size_is_reported_and_tracking_continues(start):
    robot = start()
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(2, size_wh=(80, 20)))
    robot.wait(3)
    robot.show_all(picture(3, size_wh=(80, 20)))
    assert [status for status, _, _ in robot.reported()] == ["ok", "lost", "ok", "ok"]
    assert "image size" in robot.outcomes[1].answer.error
    assert robot.outcomes[-1].segmentation.regions[0].mask.shape == (20, 80)


def test_a_camera_that_changes_its_size_during_an_answer_is_asked_about_again(start):
    robot = start()
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: frame.size_wh == (60, 12) and robot.show(picture(2, size_wh=(80, 20)))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, outcome.frame.size_wh) == (Status.OK, (80, 20))


def test_an_answer_whose_image_left_the_buffer_is_propagated_all_the_same(start):
    robot = start(buffer_s=0.5)
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 31)))
    robot.ask()
    outcome = robot.wait(1)
    assert (outcome.answer.status, left_px(outcome)) == (Status.OK, 30)
    assert outcome.segmentation.reasoned_stamp_ns == 100_000_000
    assert len(robot.worker.buffer) <= 7


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
    assert [status for status, _, _ in robot.reported()] == ["ok"] * 3
    assert {int(outcome.segmentation.mask.sum()) for outcome in robot.outcomes} == {width * (12 if width == 60 else 1)}

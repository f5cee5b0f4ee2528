"""The worker on a stream: late answers, followed targets, standing questions. A red square moves to the right."""

import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from reasonseg_ros.live.worker import Worker
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.types import Frame, Mode, Status
from test.live.following.test_propagation import picture
from test.live.robot import LIMIT_S, left_px, until


def test_an_answer_comes_with_the_newest_image_and_says_which_it_was_reasoned_on(start):
    robot = start()
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 9)))
    stages = []
    robot.ask(call=Call(on_stage=stages.append))
    outcome = robot.wait(1)
    assert left_px(outcome) == 8
    assert outcome.segmentation.frame.stamp_ns == 800_000_000
    assert outcome.segmentation.reasoned_stamp_ns == 100_000_000
    assert stages == ["reasoning", "segmenting", "catching_up"]
    assert outcome.is_last


def test_propagation_can_be_left_out(start):
    robot = start(carry=False)
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(picture(5))
    robot.ask()
    assert robot.wait(1).segmentation.frame.stamp_ns == 100_000_000


def test_an_answer_about_a_given_image_is_not_propagated(start):
    robot = start()
    robot.show(picture(7))
    robot.ask(frame=picture(1))
    assert left_px(robot.wait(1)) == 1


def test_a_target_lost_on_the_way_is_asked_for_again_on_the_newest_image(start):
    robot = start()
    robot.show(picture(1))

    def pause(frame):
        if len(robot.reasoner.stamps_ns) == 1:
            robot.show(picture(2, hidden=True))

    robot.reasoner.pause = pause
    robot.ask()
    assert robot.wait(1).answer.status is Status.NO_TARGET
    assert robot.reasoner.stamps_ns == [100_000_000, 200_000_000]


class Blind(ScriptedTracker):
    """Loses its targets in the next frame, for good."""

    def _follow(self, features, last, stamp_ns):
        return replace(super()._follow(features, last, stamp_ns), mask=np.zeros((12, 60), bool), state="lost")


def test_a_target_lost_again_and_again_ends_as_lost(start):
    robot = start({"ask_again": 2})
    robot.worker._propagator.make_tracker = Blind
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(picture(1 + frame.stamp_ns // 100_000_000))
    robot.ask()
    outcome = robot.wait(1)
    assert outcome.answer.status is Status.LOST
    assert "lost on the way" in outcome.answer.error
    assert robot.reasoner.stamps_ns == [100_000_000, 200_000_000, 300_000_000]


def test_a_tracked_target_is_reported_on_every_image_up_to_the_limit(start):
    robot = start()
    robot.show(picture(1))
    robot.ask(Mode.TRACK, frames=4)
    robot.wait(1)
    robot.show_all(picture(2), picture(3), picture(5))
    robot.show(picture(6))
    assert robot.reported() == [("ok", 1, False), ("ok", 2, False), ("ok", 3, False), ("ok", 5, True)]
    assert [left_px(outcome) for outcome in robot.outcomes] == [1, 2, 3, 5]
    assert len({outcome.segmentation.regions[0].track_id for outcome in robot.outcomes[1:]}) == 1
    assert len(robot.reasoner.stamps_ns) == 1
    assert robot.worker.load().tracked == 0
    assert len(robot.outcomes) == 4


def test_a_followed_target_is_tracked_until_cancelled(start):
    robot = start()
    robot.show(picture(1))
    request = robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show_all(picture(2))
    assert (robot.worker.load().standing, robot.worker.load().tracked) == (1, 1)
    robot.worker.cancel(request)
    assert robot.wait(3).answer.status is Status.CANCELLED
    robot.show(picture(3))
    assert robot.worker.load().tracked == robot.worker.load().standing == 0
    assert [is_last for _, _, is_last in robot.reported()] == [False, False, True]


def test_the_end_of_a_followed_target_is_about_its_last_image(start):
    robot = start()
    robot.show(picture(1))
    request = robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show_all(picture(2), picture(3))
    robot.worker.cancel(request)
    robot.wait(4)
    assert robot.reported()[2:] == [("ok", 3, False), ("cancelled", 3, True)]


@pytest.mark.parametrize("other", [{"size_wh": (80, 20)}, {"frame_id": "rear"}])
@pytest.mark.parametrize("first", [0, 1])
def test_masks_name_the_image_that_was_reasoned_on_also_if_its_stamp_is_0(start, first, other):
    robot = start()
    robot.show(picture(first))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show_all(picture(first + 1), picture(first + 2))
    robot.show(picture(first + 3, **other))
    robot.wait(4)
    origins_ns = [outcome.segmentation.origin_ns for outcome in robot.outcomes[:4]]
    assert [status for status, _, _ in robot.reported()[:4]] == ["ok", "ok", "ok", "lost"]
    assert origins_ns == [first * 100_000_000] * 4


@pytest.mark.parametrize("other", [{"size_wh": (80, 20)}, {"frame_id": "rear"}])
def test_a_target_lost_at_once_names_the_image_that_was_reasoned_on(start, other):
    robot = start()
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(2, **other))
    lost = robot.wait(2)
    assert (lost.answer.status, lost.frame.stamp_ns) == (Status.LOST, 200_000_000)
    assert lost.segmentation.origin_ns == 100_000_000


def is_answered(robot, query_id):
    return any(outcome.question.query.query_id == query_id for outcome in robot.outcomes)


def test_no_two_answers_share_a_track_id(start):
    """Detections of all questions are published on one topic, where equal ids mean the same target."""
    robot = start()
    robot.show(picture(1))
    for query_id in ("one", "other"):
        robot.ask(Mode.TRACK, query_id=query_id)
        until(partial(is_answered, robot, query_id))
    until(lambda: robot.worker.load().tracked == 2)
    for number in (2, 3):
        count = len(robot.outcomes)
        robot.show(picture(number))
        robot.wait(count + 2)
    ids = {"one": set(), "other": set()}
    for outcome in robot.outcomes:
        ids[outcome.question.query.query_id] |= {region.track_id for region in outcome.regions}
    assert all(len(each) == 1 for each in ids.values()) and ids["one"] != ids["other"], ids


def test_a_target_that_is_asked_for_again_has_a_new_track_id(start):
    robot = start()
    robot.show(picture(11))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show_all(picture(12))
    robot.show(picture(1))  # the stream begins again
    until(lambda: [status for status, _, _ in robot.reported()] == ["ok", "ok", "lost", "ok"])
    before, _, _, again = ([region.track_id for region in outcome.regions] for outcome in robot.outcomes)
    assert before and again and not set(before) & set(again)


def test_a_lost_target_is_asked_for_again_and_followed_on(start):
    robot = start()
    trackers = iter((Blind, ScriptedTracker))
    robot.worker._propagator.make_tracker = lambda: next(trackers)()
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show(picture(2))
    robot.wait(3)
    robot.show_all(picture(3))
    assert robot.reported() == [("ok", 1, False), ("lost", 2, False), ("ok", 2, False), ("ok", 3, False)]


def test_a_target_that_stays_away_ends_the_following_as_lost_or_not_there(start):
    robot = start()
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show_all(picture(2, hidden=True))
    robot.show(picture(9, hidden=True))
    last = robot.wait(4)
    assert [status for status, _, _ in robot.reported()] == ["ok", "empty_mask", "lost", "no_target"]
    assert last.is_last
    assert robot.outcomes[1].segmentation.regions == ()
    assert "track 1, is occluded" in robot.outcomes[1].answer.error


def test_nothing_to_follow_is_the_last_word(start):
    robot = start()
    robot.show(picture(1, hidden=True))
    robot.ask(Mode.TRACK)
    assert robot.wait(1).is_last
    assert robot.reported() == [("no_target", 1, True)]


def test_a_stream_that_restarts_is_reported_and_asked_about_again(start):
    robot = start()
    robot.show(picture(20), picture(21))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.show_all(picture(22))
    robot.show(picture(3))
    robot.wait(4)
    robot.show_all(picture(4))
    assert robot.reported() == [
        ("ok", 21, False), ("ok", 22, False), ("lost", 22, False), ("ok", 3, False), ("ok", 4, False)
    ]  # fmt: skip


def test_while_disabled_nothing_is_tracked(start):
    robot = start()
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.worker.enable(False)
    robot.show(picture(2))
    robot.worker.enable(True)
    robot.show_all(picture(3))
    assert [tenth for _, tenth, _ in robot.reported()] == [1, 3]


def test_disabled_and_enabled_while_it_thinks(start):
    robot = start()
    robot.show(picture(1))

    def pause(frame):
        robot.worker.enable(False)
        robot.show(picture(2))
        robot.worker.enable(True)

    robot.reasoner.pause = pause
    robot.ask()
    assert left_px(robot.wait(1)) == 2


def test_stopped_while_it_catches_up(start):
    robot = start()
    reached, gate = threading.Event(), threading.Event()

    class Slow(ScriptedTracker):
        def step(self, features, stamp_ns):
            reached.set()
            gate.wait(LIMIT_S)
            return super().step(features, stamp_ns)

    robot.worker._propagator.make_tracker = Slow
    robot.show(picture(1))
    robot.reasoner.pause = lambda frame: robot.show(*map(picture, range(2, 6)))
    robot.ask(Mode.TRACK)
    assert reached.wait(LIMIT_S)
    assert robot.worker.clear("deactivated") == 1
    robot.worker.forget_frames()
    gate.set()
    assert robot.wait(1).is_last
    assert robot.worker.load().tracked == 0


def test_what_happened_is_answered_on_the_newest_image_where_the_target_is_still_seen(start):
    robot = start()
    robot.show(*map(picture, range(1, 9)))
    robot.ask(Mode.HISTORY)
    outcome = robot.wait(1)
    assert robot.reasoner.shown_ns == [100_000_000, 300_000_000, 600_000_000, 800_000_000]
    assert (left_px(outcome), outcome.is_last) == (8, True)
    assert outcome.segmentation.reasoned_stamp_ns == 100_000_000


def test_what_happened_is_answered_on_the_image_that_shows_it_where_the_target_is_gone(start):
    robot = start()
    robot.show(*map(picture, range(1, 7)), picture(7, hidden=True))
    robot.ask(Mode.HISTORY)
    outcome = robot.wait(1)
    assert (outcome.answer.status, left_px(outcome)) == (Status.OK, 1)
    assert outcome.segmentation.frame.stamp_ns == 100_000_000
    assert len(robot.reasoner.stamps_ns) == 1


def test_nothing_happened(start):
    robot = start()
    robot.show(picture(1, hidden=True), picture(2, hidden=True))
    robot.ask(Mode.HISTORY)
    assert robot.wait(1).answer.status is Status.NO_TARGET


def test_a_method_for_one_image_refuses_to_look_back_and_to_follow(start):
    robot = start()
    robot.worker.stop()
    robot.worker = Worker(SegZero(robot.reasoner, ScriptedSegmenter("box"), robot.worker.method.settings))
    robot.worker.start()
    robot.show(picture(1))
    robot.ask(Mode.HISTORY)
    robot.ask(Mode.TRACK)
    assert [str(robot.wait(count).answer.status) for count in (1, 2)] == ["refused", "refused"]
    assert "one image only" in robot.outcomes[0].answer.error
    assert "cannot follow" in robot.outcomes[1].answer.error


def test_trackers_do_not_make_a_method_for_one_image_look_back(start):
    robot = start()
    robot.worker.stop()
    method = SegZero(robot.reasoner, ScriptedSegmenter("box"), robot.worker.method.settings)
    robot.worker = Worker(method, ScriptedTracker)
    robot.worker.start()
    robot.show(picture(1), picture(2))
    robot.ask(Mode.HISTORY)
    assert robot.wait(1).answer.status is Status.REFUSED
    assert "use the method rev_seg" in robot.outcomes[0].answer.error


@pytest.mark.parametrize("mode", [Mode.TRACK, Mode.WATCH, Mode.HISTORY])
def test_what_goes_on_needs_the_cameras_images(start, mode):
    robot = start()
    robot.ask(mode, frame=picture(1))
    outcome = robot.wait(1)
    assert outcome.answer.status is Status.REFUSED
    assert "image in the request" in outcome.answer.error


def test_the_same_id_asked_again_ends_the_old_question(start):
    robot = start()
    robot.show(picture(1))
    robot.ask(Mode.TRACK)
    robot.wait(1)
    robot.ask(Mode.TRACK)
    robot.wait(3)
    assert sorted(str(outcome.answer.status) for outcome in robot.outcomes) == ["cancelled", "ok", "ok"]
    assert robot.worker.load().tracked == 1


def test_what_is_kept_is_bounded(start):
    robot = start(buffer_mb=1)
    for tenth in range(300):
        robot.show(Frame(np.zeros((100, 100, 3), np.uint8), tenth * 10_000_000))
    assert robot.worker.load().buffered_bytes <= 1_000_000

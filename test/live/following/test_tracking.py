"""Targets followed over a stream, with the scripted segmenter and tracker."""

import threading

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.following.tracking import TargetTracking
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.types import Grounding, Status
from test.live.following.test_propagation import FIRST, answered, picture
from test.live.robot import LIMIT_S


def arrival(frame):
    return Arrival(frame.stamp_ns, frame.rgb.nbytes, lambda: frame)


class Watched:
    """A running tracking and what it reported, in its order."""

    def __init__(self):
        self.reported = []
        self.came = threading.Condition()
        self.tracking = TargetTracking(ScriptedSegmenter("box"), self.take)
        self.tracking.start()

    def take(self, key, segmentation):
        with self.came:
            self.reported.append((key, segmentation))
            self.came.notify_all()

    def track(self, key, frame, *groundings):
        tracker = ScriptedTracker(lost_after_s=0.25)
        tracker.add(self.tracking.segmenter.encode(frame.rgb), groundings, frame.stamp_ns)
        self.tracking.track(key, answered(frame, *groundings), tracker)

    def show(self, frame, count):
        """Show an image, and wait until `count` masks in all were reported."""
        self.tracking.show(arrival(frame))
        with self.came:
            assert self.came.wait_for(lambda: len(self.reported) >= count, LIMIT_S), self.reported
        return self.reported[-1][1]


@pytest.fixture
def watched():
    watched = Watched()
    yield watched
    assert watched.tracking.stop()


def test_masks_follow_from_image_to_image(watched):
    watched.track("q1", picture(0), FIRST)
    for tenth in (1, 2, 5):
        masks = watched.show(picture(tenth), len(watched.reported) + 1)
        assert masks.regions[0].box_xyxy.tolist() == [2 + tenth, 4, 6 + tenth, 8]
        assert masks.frame.stamp_ns == tenth * 100_000_000
        assert masks.status is Status.OK
        assert set(masks.seconds) == {"tracking"}
    assert [key for key, _ in watched.reported] == ["q1"] * 3


def test_an_occluded_target_is_reported_as_such_then_lost_once(watched):
    watched.track("q1", picture(1), FIRST)
    states = []
    for tenth in (2, 3):
        masks = watched.show(picture(tenth, hidden=True), len(watched.reported) + 1)
        states.append(masks.regions[0].track_state)
    lost = watched.show(picture(9, hidden=True), 3)
    assert states == ["occluded", "occluded"]
    assert (lost.status, lost.regions) == (Status.LOST, ())
    assert "not been seen" in lost.answer.error
    assert watched.tracking.keys() == []


def test_a_target_that_comes_back_is_tracked_again(watched):
    watched.track("q1", picture(1), FIRST)
    watched.show(picture(2, hidden=True), 1)
    assert watched.show(picture(3), 2).regions[0].track_state == "tracked"


def test_two_answers_are_followed_apart(watched):
    first = picture(0)
    first.rgb[9:11, 40:44] = (0, 0, 250)
    second = picture(1)
    second.rgb[9:11, 42:46] = (0, 0, 250)
    watched.track("red", first, FIRST)
    watched.track("blue", first, Grounding(np.array([40, 9, 44, 11], np.float32)))
    watched.show(second, 2)
    boxes = {key: masks.regions[0].box_xyxy.tolist() for key, masks in watched.reported}
    assert boxes == {"red": [3, 4, 7, 8], "blue": [42, 9, 46, 11]}
    assert watched.tracking.drop("red")
    assert not watched.tracking.drop("red")
    watched.show(picture(2, hidden=True), 3)
    assert watched.reported[-1][0] == "blue"


def test_an_older_image_than_the_answers_is_passed_over(watched):
    watched.track("q1", picture(5), FIRST)
    watched.tracking.show(arrival(picture(4)))
    assert watched.show(picture(6), 1).frame.stamp_ns == 600_000_000
    assert len(watched.reported) == 1


def test_a_damaged_image_is_passed_over(watched):
    def broken():
        raise InvalidInput("cut in half")

    watched.track("q1", picture(0), FIRST)
    watched.tracking.show(Arrival(100_000_000, 1, broken))
    assert watched.show(picture(2), 1).regions[0].box_xyxy.tolist() == [4, 4, 8, 8]


def test_another_image_size_ends_it(watched):
    watched.track("q1", picture(0), FIRST)
    assert "image size" in watched.show(picture(1, size_wh=(30, 12)), 1).answer.error
    assert watched.tracking.keys() == []


def test_an_image_of_another_camera_ends_it(watched):
    watched.track("q1", picture(0), FIRST)
    watched.show(picture(1, frame_id="/camera"), 1)
    assert watched.tracking.keys() == ["q1"]
    assert "another camera" in watched.show(picture(2, frame_id="rear"), 2).answer.error
    assert watched.tracking.keys() == []


def test_a_model_that_fails_ends_the_answers_and_not_the_thread(watched):
    class Broken(ScriptedTracker):
        def step(self, features, stamp_ns):
            raise RuntimeError("no kernel image")

    watched.tracking.track("q1", answered(picture(0), FIRST), Broken())
    assert "no kernel image" in watched.show(picture(1), 1).answer.error
    watched.track("q2", picture(1), Grounding(np.array([3, 4, 7, 8], np.float32)))
    assert watched.show(picture(2), 2).status is Status.OK


def test_everything_can_be_ended_at_once(watched):
    watched.track("q1", picture(0), FIRST)
    watched.tracking.end_all("the stream of images began again")
    assert "began again" in watched.reported[0][1].answer.error
    assert watched.tracking.keys() == []


def test_at_a_lower_rate_only_the_newest_image_is_taken():
    reported = []
    came = threading.Condition()

    def take(key, masks):
        with came:
            reported.append(masks.frame.stamp_ns)
            came.notify_all()

    tracking = TargetTracking(ScriptedSegmenter("box"), take, max_rate_hz=2.0)
    tracker = ScriptedTracker()
    tracker.add(tracking.segmenter.encode(picture(0).rgb), [FIRST], 0)
    tracking.track("q1", answered(picture(0), FIRST), tracker)
    tracking.start()
    tracking.show(arrival(picture(1)))
    with came:
        assert came.wait_for(lambda: reported, LIMIT_S)
    for tenth in range(2, 20):
        tracking.show(arrival(picture(tenth)))
    with came:
        assert came.wait_for(lambda: reported[-1] == 19 * 100_000_000, LIMIT_S)
    assert tracking.stop()
    assert len(reported) < 10


def test_a_slow_rate_of_following_does_not_hold_up_the_end():
    reported = threading.Event()
    tracking = TargetTracking(ScriptedSegmenter(), lambda key, masks: reported.set(), max_rate_hz=0.01)
    first, second = picture(1), picture(2)
    tracker = ScriptedTracker()
    tracker.add(ScriptedSegmenter().encode(first.rgb), [FIRST], first.stamp_ns)
    tracking.track("key", answered(first, FIRST), tracker)
    tracking.start()
    tracking.show(Arrival(second.stamp_ns, 0, lambda: second))
    assert reported.wait(LIMIT_S)
    assert tracking.stop(LIMIT_S)

"""Late answers on a stream in which a red square moves one pixel to the right in every tenth of a second."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.following.propagation import Propagator, affordable_steps
from reasonseg_ros.live.stream.frame_buffer import Arrival, FrameBuffer
from reasonseg_ros.segmenter.regions import build_region
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Segmentation, Status

RED = (200, 0, 0)
FIRST = Grounding(np.array([2, 4, 6, 8], np.float32), label="the square")


def picture(tenth, size_wh=(60, 12), hidden=False, frame_id="camera"):
    rgb = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    if not hidden:
        rgb[4:8, 2 + tenth : 6 + tenth] = RED
    return Frame(rgb, stamp_ns=tenth * 100_000_000, frame_id=frame_id)


def stream(frames):
    buffer = FrameBuffer(100, 10**9)
    for frame in frames:
        buffer.add(Arrival(frame.stamp_ns, frame.rgb.nbytes, lambda frame=frame: frame))
    return buffer


def answered(frame, *groundings):
    segmenter = ScriptedSegmenter("box")
    masks = segmenter.decode(segmenter.encode(frame.rgb), groundings)
    regions = tuple(build_region(g, m, SegmenterConfig()) for g, m in zip(groundings, masks, strict=True))
    answer = Answer(Status.OK, groundings=groundings) if groundings else Answer(Status.NO_TARGET)
    return Segmentation(frame, Query("what is red?"), answer, regions, {"reasoning": 2.0})


class Clock:
    """Simulated time: every encoded image takes `frame_s`."""

    def __init__(self, frame_s):
        self.now_s = 0.0
        self.frame_s = frame_s
        self.encoded = []

    def propagator(self, segmenter=None):
        segmenter = segmenter or ScriptedSegmenter("box")
        encode = segmenter.encode

        def slow(rgb):
            self.now_s += self.frame_s
            features = encode(rgb)
            self.encoded.append(int(np.flatnonzero(rgb.any(axis=(0, 2)))[0]) - 2 if rgb.any() else -1)
            return features

        segmenter.encode = slow
        return Propagator(segmenter, ScriptedTracker, clock=lambda: self.now_s)


def test_the_mask_is_where_the_target_is_now():
    frames = [picture(tenth) for tenth in range(21)]
    propagated = Clock(0.01).propagator().propagate(answered(frames[0], FIRST), stream(frames), 1.0)
    segmentation = propagated.segmentation
    region = segmentation.regions[0]
    assert segmentation.frame is frames[20]
    assert segmentation.reasoned_stamp_ns == frames[0].stamp_ns
    assert region.box_xyxy.tolist() == [22, 4, 26, 8]
    assert (region.label, region.track_state, region.track_id) == ("the square", "tracked", 1)
    assert (propagated.frames, propagated.left_out) == (20, 0)
    assert set(segmentation.seconds) == {"reasoning", "catching_up"}


def test_frames_are_left_out_so_that_catching_up_ends_in_time():
    clock = Clock(0.1)
    frames = [picture(tenth) for tenth in range(41)]
    propagated = clock.propagator().propagate(answered(frames[0], FIRST), stream(frames), 0.55)
    assert propagated.segmentation.frame is frames[40]
    assert (clock.encoded[0], clock.encoded[-1], len(clock.encoded)) == (0, 40, 5)
    assert max(np.diff(clock.encoded)) <= 13
    assert clock.now_s <= 0.55
    assert (propagated.frames, propagated.left_out) == (4, 36)


def test_one_frame_is_done_even_where_it_takes_longer_than_allowed():
    clock = Clock(3.0)
    frames = [picture(tenth) for tenth in range(9)]
    propagated = clock.propagator().propagate(answered(frames[0], FIRST), stream(frames), 0.5)
    assert clock.encoded == [0, 8]
    assert propagated.segmentation.status is Status.OK


def test_frames_that_come_while_catching_up_are_done_too():
    frames = [picture(tenth) for tenth in range(12)]
    buffer = stream(frames[:10])
    clock = Clock(0.05)
    propagator = clock.propagator()
    step = ScriptedTracker.step

    class Growing(ScriptedTracker):
        def step(self, features, stamp_ns):
            if stamp_ns == frames[9].stamp_ns:
                for frame in frames[10:]:
                    buffer.add(Arrival(frame.stamp_ns, 1, lambda frame=frame: frame))
            return step(self, features, stamp_ns)

    propagator.make_tracker = Growing
    assert propagator.propagate(answered(frames[0], FIRST), buffer, 1.0).segmentation.frame is frames[11]


@pytest.mark.parametrize("reliable", [True, False])
def test_masks_move_to_a_frame_that_came_during_the_last_step_if_that_is_reliable(reliable):
    frames = [picture(tenth) for tenth in range(12)]
    buffer = stream(frames[:10])

    class Growing(ScriptedTracker):
        def step(self, features, stamp_ns):
            for frame in frames[10:]:
                buffer.add(Arrival(frame.stamp_ns, 1, lambda frame=frame: frame))
            return super().step(features, stamp_ns)

    def move(before, after, mask):
        assert before is frames[9].rgb and after is frames[11].rgb
        return np.roll(mask, 2, axis=1) if reliable else None

    clock = Clock(0.5)
    propagator = clock.propagator()
    propagator.make_tracker, propagator._move = Growing, move
    segmentation = propagator.propagate(answered(frames[0], FIRST), buffer, 0.4).segmentation
    assert segmentation.frame is frames[11 if reliable else 9]
    assert segmentation.regions[0].box_xyxy[0] == 2 + (11 if reliable else 9)


def test_masks_move_on_if_a_frame_comes_during_the_move():
    frames = [picture(tenth) for tenth in range(12)]
    buffer = stream(frames[:10])

    def arrive(frame):
        buffer.add(Arrival(frame.stamp_ns, 1, lambda: frame))

    class Growing(ScriptedTracker):
        def step(self, features, stamp_ns):
            arrive(frames[10])
            return super().step(features, stamp_ns)

    def move(before, after, mask):
        arrive(frames[11])
        return np.roll(mask, 1, axis=1)

    propagator = Clock(0.5).propagator()
    propagator.make_tracker, propagator._move = Growing, move
    segmentation = propagator.propagate(answered(frames[0], FIRST), buffer, 0.4).segmentation
    assert segmentation.frame is frames[11]
    assert segmentation.regions[0].box_xyxy[0] == 2 + 11


def test_an_answer_about_the_newest_frame_stays_as_it_is():
    frames = [picture(0)]
    segmentation = answered(frames[0], FIRST)
    propagated = Clock(0.1).propagator().propagate(segmentation, stream(frames), 1.0)
    assert propagated.segmentation is segmentation
    assert propagated.tracker is None


def test_nothing_fits_is_not_propagated():
    frames = [picture(tenth) for tenth in range(3)]
    segmentation = answered(frames[0])
    assert Clock(0.1).propagator().propagate(segmentation, stream(frames), 1.0).segmentation is segmentation


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (picture(3, hidden=True), "lost on the way"),
        (picture(3, size_wh=(30, 12)), "changed its image size"),
        (picture(3, frame_id="rear_camera"), "another camera: frame_id 'rear_camera' after 'camera'"),
    ],
)
def test_what_cannot_be_followed_is_lost_with_the_reason(last, reason):
    frames = [picture(0), picture(1), picture(2), last]
    segmentation = Clock(0.01).propagator().propagate(answered(frames[0], FIRST), stream(frames), 1.0).segmentation
    assert segmentation.status is Status.LOST
    assert reason in segmentation.answer.error
    assert segmentation.regions == ()
    assert segmentation.frame is last
    assert segmentation.reasoned_stamp_ns == 0 == frames[0].stamp_ns


def test_a_stream_that_begins_again_ends_the_way():
    frames = [picture(tenth) for tenth in range(50, 55)]
    buffer = stream(frames)
    propagator = Clock(0.01).propagator()
    encode = propagator.segmenter.encode

    def looping(rgb):
        buffer.add(Arrival(0, 1, lambda: picture(0)))
        return encode(rgb)

    propagator.segmenter.encode = looping
    segmentation = answered(frames[0], Grounding(np.array([52, 4, 56, 8], np.float32)))
    assert "began again" in propagator.propagate(segmentation, buffer, 1.0).segmentation.answer.error


def test_of_two_targets_the_missing_one_is_reported_as_occluded():
    first = picture(0)
    first.rgb[9:11, 40:44] = (0, 0, 250)
    later = picture(5)
    blue = Grounding(np.array([40, 9, 44, 11], np.float32))
    propagated = Clock(0.01).propagator().propagate(answered(first, FIRST, blue), stream([first, later]), 1.0)
    assert [region.track_state for region in propagated.segmentation.regions] == ["tracked", "occluded"]
    assert not propagated.segmentation.regions[1].mask.any()
    assert propagated.segmentation.status is Status.OK


def test_the_second_candidate_moves_with_the_answer_until_it_is_gone():
    first = picture(0)
    first.rgb[9:11, 40:44] = (0, 0, 250)
    both = answered(first, FIRST, Grounding(np.array([40, 9, 44, 11], np.float32)))
    unsure = replace(both.answer, status=Status.UNSURE, error="unsure")
    found = replace(both, answer=unsure, regions=both.regions[:1], alternative=both.regions[1:])
    seen, gone = picture(5), picture(6)
    seen.rgb[9:11, 45:49] = (0, 0, 250)
    there, lost = (
        Clock(0.01).propagator().propagate(found, stream(frames), 1.0).segmentation
        for frames in ([first, seen], [first, gone])
    )
    assert [region.box_xyxy.tolist() for region in there.alternative] == [[45, 9, 49, 11]]
    assert len(there.regions) == len(lost.regions) == 1 and lost.alternative is None


def test_a_damaged_image_on_the_way_is_passed_over():
    frames = [picture(tenth) for tenth in range(4)]
    buffer = stream(frames[:3])

    def broken():
        raise InvalidInput("cut in half")

    buffer.add(Arrival(frames[3].stamp_ns, 1, broken))
    propagated = Clock(0.01).propagator().propagate(answered(frames[0], FIRST), buffer, 1.0)
    assert propagated.segmentation.frame is frames[2]


def test_where_the_newest_image_is_damaged_the_one_before_is_taken():
    frames = [picture(tenth) for tenth in range(9)]
    buffer = stream(frames)

    def broken():
        raise InvalidInput("cut in half")

    buffer.add(Arrival(900_000_000, 1, broken))
    clock = Clock(3.0)  # time for one image
    propagated = clock.propagator().propagate(answered(frames[0], FIRST), buffer, 0.5)
    assert (clock.encoded, propagated.segmentation.status) == ([0, 8], Status.OK)
    assert propagated.segmentation.frame is frames[8]


def test_no_further_image_is_begun_where_it_would_take_too_long():
    frames = [picture(tenth) for tenth in range(40)]
    buffer = stream(frames[:10])
    clock = Clock(0.2)
    propagator = clock.propagator()
    encode = propagator.segmenter.encode

    def camera(rgb):
        features = encode(rgb)
        for frame in frames[10 : 10 + int(clock.now_s * 10)]:
            buffer.add(Arrival(frame.stamp_ns, 1, lambda frame=frame: frame))
        return features

    propagator.segmenter.encode = camera
    propagated = propagator.propagate(answered(frames[0], FIRST), buffer, 0.5)
    assert clock.encoded == [0, 11]
    assert (clock.now_s, propagated.left_out) == (0.4, 10)


@pytest.mark.parametrize(
    ("left_s", "frame_s", "expected"),
    [(0.5, 0.15, 3), (0.5, 0.01, 50), (0.1, 0.15, 1), (-1.0, 0.15, 1), (0.5, 0.0, sys.maxsize)],
)
def test_steps_fit_into_the_remaining_time(left_s, frame_s, expected):
    assert affordable_steps(left_s, frame_s) == expected


def test_a_cancelled_one_stops_between_frames():
    frames = [picture(tenth) for tenth in range(30)]
    clock = Clock(0.01)
    asked = iter([False, False, True, True])
    clock.propagator().propagate(answered(frames[0], FIRST), stream(frames), 10.0, lambda: next(asked))
    assert clock.encoded == [0, 1, 2]

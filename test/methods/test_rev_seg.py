"""Questions about what happened: two rounds, then the target followed both ways."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from reasonseg_ros.config import config_from
from reasonseg_ros.errors import InvalidInput, OutOfMemory
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.port import Track
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.segmenter.track_states import unseen
from reasonseg_ros.types import Frame, Query, Status

SIZE_WH = (64, 48)
CHOSEN = '<think>it rolled.</think><answer>[{"frame_idx": 2, "object description": "the red can"}]</answer>'
BOX = '<think>the red can.</think><answer>[{"bbox_2d":[8,8,24,24],"point_2d":[16,16]}]</answer>'
NOTHING = "<think>nothing fits.</think><answer>[]</answer>"
QUERY = Query("what rolled?", "q")


def frames(count):
    """Frame i is grey i and was taken i tenths of a second after the first."""
    return [Frame(np.full((48, 64, 3), i, np.uint8), 10**9 + i * 10**8) for i in range(count)]


@dataclass
class MovingTracker:
    """Tells in which order it saw frames; the target's mask is a column that says which frame it is in."""

    log: list

    def add(self, features, groundings, stamp_ns, masks=None):
        self.log.append([])
        return self._tracks(features, stamp_ns)

    def step(self, features, stamp_ns):
        return self._tracks(features, stamp_ns)

    def _tracks(self, features, stamp_ns):
        number = int(features.data[0, 0, 0])
        self.log[-1].append((number, stamp_ns))
        mask = np.zeros((48, 64), bool)
        mask[:, number] = True
        return [Track(1, mask, 0.9, "tracked", stamp_ns, stamp_ns)]


@pytest.fixture
def ask():
    def make(*texts, count=9, shown=3):
        log = []
        config = config_from({"history.frames": shown})
        reasoner = ScriptedReasoner(texts, dialect="vision_reasoner", answer_wh=SIZE_WH)
        single = SegZero(reasoner, ScriptedSegmenter("box"), config)
        return RevSeg(single, lambda: MovingTracker(log)), log, frames(count)

    return make


def test_the_target_is_followed_from_the_keyframe_both_ways(ask):
    method, log, video = ask(CHOSEN, BOX)
    answers = method.answer_video(video, QUERY)
    assert method.reasoner.questions == ["what rolled?", "the red can"]
    # Frames 0, 4 and 8 were shown, so number 2 is frame 4; stamps grow in both directions.
    assert [[number for number, _ in run] for run in log] == [[4, 5, 6, 7, 8], [4, 3, 2, 1, 0]]
    assert all(stamps == sorted(set(stamps)) for stamps in ([stamp_ns for _, stamp_ns in run] for run in log))
    assert [one.frame.stamp_ns for one in answers] == [frame.stamp_ns for frame in video]
    assert {one.reasoned_stamp_ns for one in answers} == {video[4].stamp_ns}
    for number, one in enumerate(answers):
        assert one.status is Status.OK and one.query is QUERY
        if number != 4:
            assert one.mask[:, number].all() and one.mask.sum() == 48
    assert answers[4].regions[0].box_xyxy.tolist() == [8, 8, 24, 24]
    assert answers[0].answer.thought == "it rolled. the red can."
    assert {"choosing", "reasoning", "tracking"} <= set(answers[0].seconds)


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        ("<think>hm</think><answer>no idea</answer>", "what rolled?"),
        ('<answer>[{"frame_idx": 77, "object description": "the red can"}]</answer>', "the red can"),
        ("<think>it rol", "what rolled?"),
    ],
)
def test_where_round_1_fails_the_newest_frame_is_asked_about(ask, first, asked):
    method, _, video = ask(first, BOX)
    looked = method.look_back(video, QUERY)
    assert (looked.fell_back, looked.index, looked.segmentation.status) == (True, 8, Status.OK)
    assert method.reasoner.questions[1] == asked
    assert looked.segmentation.answer.error.startswith(f"round 1: {looked.keyframe.status} (")


def test_nothing_that_happened_is_an_answer_for_all_frames(ask):
    method, log, video = ask(NOTHING)
    answers = method.answer_video(video, QUERY)
    assert {one.status for one in answers} == {Status.NO_TARGET} and len(answers) == 9
    assert not log and len(method.reasoner.questions) == 1


def test_rounds_that_contradict_each_other_say_so(ask):
    method, _, video = ask(CHOSEN, NOTHING)
    looked = method.look_back(video, QUERY)
    assert looked.segmentation.status is Status.CONTRADICTION
    assert "nothing like 'the red can' is found" in looked.segmentation.answer.error


def test_a_cancelled_question_ends_after_either_round(ask):
    method, _, video = ask(CHOSEN, BOX)
    assert method.answer_video(video, QUERY, Call(cancelled=lambda: True))[0].status is Status.CANCELLED
    rounds = []
    method, _, video = ask(CHOSEN, BOX)
    looked = method.look_back(video, QUERY, Call(on_text=lambda text, _: rounds.append(text),
                              cancelled=lambda: rounds[-1:] == [CHOSEN]))  # fmt: skip
    assert (looked.keyframe.status, looked.segmentation.status) == (Status.OK, Status.CANCELLED)


def test_the_only_frame_is_a_video_too(ask):
    method, _, video = ask('<answer>[{"frame_idx": 1, "label": "the can"}]</answer>', BOX, count=1)
    answers = method.answer_video(video, QUERY)
    assert len(answers) == 1 and answers[0].status is Status.OK
    with pytest.raises(InvalidInput, match="no frames"):
        method.answer_video([], QUERY)


def test_memory_that_runs_out_during_tracking_is_reported_on_every_frame(ask):
    method, _, video = ask(CHOSEN, BOX)
    tracker = MovingTracker([[]])

    def no_memory(*_):
        raise OutOfMemory("CUDA out of memory")

    tracker.step = no_memory
    method.make_tracker = lambda: tracker
    answers = method.answer_video(video, QUERY)
    assert {one.status for one in answers} == {Status.OUT_OF_MEMORY} and not any(one.regions for one in answers)


def test_a_camera_that_changes_its_size_is_reported_on_every_frame(ask):
    method, _, video = ask(CHOSEN, BOX)
    video[7] = Frame(np.zeros((24, 32, 3), np.uint8), video[7].stamp_ns)
    answers = method.answer_video(video, QUERY)
    assert {one.status for one in answers} == {Status.FAILED}
    assert "(64, 48) and (32, 24) pixels" in answers[0].answer.error


def test_the_reasoner_says_how_many_frames_it_likes(ask):
    method, log, video = ask(CHOSEN, BOX, count=11, shown=0)
    method.answer_video(video, QUERY)
    assert log[0][0][0] == 2  # number 2 of 0, 2, 4, 6, 8, 10


def test_a_frame_in_which_the_target_is_not_seen_has_no_target(ask):
    method, _, video = ask(CHOSEN, BOX)
    show = MovingTracker._tracks

    class Hidden(MovingTracker):
        def _tracks(self, features, stamp_ns):
            (track,) = show(self, features, stamp_ns)
            number = int(features.data[0, 0, 0])
            return [unseen(replace(track, mask=np.zeros_like(track.mask))) if number in (2, 7) else track]

    method.make_tracker = lambda: Hidden([])
    answers = method.answer_video(video, QUERY)
    assert [number for number, one in enumerate(answers) if one.status is Status.NO_TARGET] == [2, 7]
    for one in answers:
        assert bool(one.regions) == (one.status is Status.OK) == one.mask.any()
    assert "track 1, is occluded" in answers[2].answer.error
    assert answers[2].answer.thought == answers[3].answer.thought


def test_any_error_of_the_tracker_is_reported_on_every_frame_with_its_stage(ask):
    method, _, video = ask(CHOSEN, BOX)

    class Broken(MovingTracker):
        def step(self, features, stamp_ns):
            raise ZeroDivisionError("by zero")

    method.make_tracker = lambda: Broken([])
    answers = method.answer_video(video, QUERY)
    assert {(one.status, one.answer.error) for one in answers} == {
        (Status.FAILED, "tracking: ZeroDivisionError: by zero")
    }


def test_an_error_of_the_reasoner_in_round_1_has_its_stage(ask):
    method, _, video = ask(CHOSEN, BOX)

    def fail(*_, **__):
        raise ZeroDivisionError("by zero")

    method.reasoner.choose = fail
    looked = method.look_back(video, QUERY)
    assert (looked.keyframe.status, looked.fell_back) == (Status.FAILED, True)
    assert "round 1: failed (reasoning: ZeroDivisionError: by zero)" in looked.segmentation.answer.error

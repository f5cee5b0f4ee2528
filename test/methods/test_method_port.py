"""What every method promises, over scripted models: those of the table, and the one of the examples."""

from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.config import METHODS, config_from
from reasonseg_ros.errors import InvalidInput, ModelError, OutOfMemory
from reasonseg_ros.methods.loading import method_class
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.rea2_seg import Rea2Seg
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.rounds import Keyframe
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.types import Frame, Grounding, Query, Segmentation, Status
from test.examples.loading import example
from test.ports import check_members

TWO = (
    '<think>both fit.</think><answer>[{"bbox_2d":[4,4,12,12],"point_2d":[8,8]},'
    '{"bbox_2d":[20,20,40,36],"point_2d":[30,28]}]</answer>'
)
NOTHING = "<think>nothing fits.</think><answer>[]</answer>"
QUERY = Query("what is bright?", "q7")
BOX = Grounding([4, 4, 12, 12], [[8, 8]])


class Reasoner(ScriptedReasoner):
    """Chooses the second frame; raises `error` if there is one."""

    error = None

    def answer(self, frame, text, *call):
        if self.error:
            raise self.error
        return super().answer(frame, text, *call)

    def choose(self, frames, text, call):
        if self.error:
            raise self.error
        if call.cancelled():
            return Keyframe(Status.CANCELLED, error="cancelled")
        return Keyframe(Status.OK, min(1, len(frames) - 1), text)


MAKERS = {
    "seg_zero": SegZero,
    "rev_seg": lambda *models: RevSeg(SegZero(*models), ScriptedTracker),
    "rev_seg of rev_seg": lambda *models: RevSeg(RevSeg(SegZero(*models), ScriptedTracker), ScriptedTracker),
    "rea2_seg": lambda *models: Rea2Seg(SegZero(*models)),
    "rev_seg of rea2_seg": lambda *models: RevSeg(Rea2Seg(SegZero(*models)), ScriptedTracker),
    "the example": lambda *models: example("02_write_your_own_method").LookCloser(SegZero(*models)),
    "rev_seg of the example": lambda *models: RevSeg(
        example("02_write_your_own_method").LookCloser(SegZero(*models)), ScriptedTracker
    ),
}


@pytest.fixture(params=MAKERS)
def make(request):
    def make(*texts, error=None, **values):
        reasoner = Reasoner(texts or (TWO,))
        reasoner.error = error
        return MAKERS[request.param](reasoner, ScriptedSegmenter("box"), config_from(values))

    return make


@pytest.fixture
def frames():
    """Two bright rectangles on noise-free ground, which is what the scripted tracker tracks."""
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[4:12, 4:12], rgb[20:36, 20:40] = 200, 150
    return [Frame(rgb.copy(), stamp_ns, "eye") for stamp_ns in (100, 200, 300)]


def check(segmentation, frame, query=QUERY, status=Status.OK):
    assert isinstance(segmentation, Segmentation)
    assert segmentation.frame is frame and segmentation.query == query
    assert segmentation.status is status, segmentation.answer.error
    assert bool(segmentation.regions) == (status is Status.OK)
    assert (segmentation.mask.dtype, segmentation.mask.shape) == (bool, frame.rgb.shape[:2])
    for region in segmentation.regions:
        assert region.mask.any() and region.mask.shape == frame.rgb.shape[:2]
    if status not in (Status.OK, Status.NO_TARGET):
        assert segmentation.answer.error


def test_it_has_the_members_of_the_port(make):
    method = make()
    check_members(Method, method)
    assert isinstance(method.sees_videos, bool) and method.name
    assert method.make_tracker is None or method.make_tracker().step is not None


def test_the_names_of_the_table_are_those_of_its_methods():
    assert {name: method_class(name).__name__ for name in METHODS} == METHODS
    assert [method_class(name).name for name in METHODS] == list(METHODS)


def test_an_answer_has_a_region_for_each_grounding_on_its_own_frame(make, frames):
    found = make().answer(frames[0], QUERY)
    check(found, frames[0])
    assert [region.box_xyxy.tolist() for region in found.regions] == [[4, 4, 12, 12], [20, 20, 40, 36]]
    assert (found.answer.thought, found.answer.raw_text) == ("both fit.", TWO)


def test_nothing_that_fits_is_no_target_and_has_a_thought(make, frames):
    found = make(NOTHING).answer(frames[0], QUERY)
    check(found, frames[0], status=Status.NO_TARGET)
    assert found.answer.thought == "nothing fits."


def test_the_stages_are_reported_in_their_order_and_text_as_it_grows(make, frames):
    stages, heard = [], []
    make().answer(frames[0], QUERY, Call(on_stage=stages.append, on_text=lambda text, _: heard.append(text)))
    assert stages == ["reasoning", "segmenting"]
    assert heard[-1] == TWO and heard == sorted(heard, key=len)


def test_a_cancelled_question_is_cancelled(make, frames):
    cancelled = Call(cancelled=lambda: True)
    check(make().answer(frames[0], QUERY, cancelled), frames[0], status=Status.CANCELLED)
    assert make().answer_history(frames, QUERY, cancelled).status is Status.CANCELLED
    assert {one.status for one in make().answer_video(frames, QUERY, cancelled)} == {Status.CANCELLED}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelError("broken weights"), Status.FAILED),
        (ZeroDivisionError("by zero"), Status.FAILED),
        (OutOfMemory("use a smaller image"), Status.OUT_OF_MEMORY),
        (MemoryError(), Status.OUT_OF_MEMORY),
    ],
)
def test_whatever_the_reasoner_raises_is_a_status(make, frames, error, status):
    check(make(error=error).answer(frames[0], QUERY), frames[0], status=status)
    assert make(error=error).answer_history(frames, QUERY).status is status
    assert {one.status for one in make(error=error).answer_video(frames, QUERY)} == {status}


def test_prompts_are_segmented_without_the_reasoner(make, frames):
    method = make()
    found = method.prompt(frames[0], [BOX])
    check(found, frames[0], Query(""))
    assert found.regions[0].box_xyxy.tolist() == [4, 4, 12, 12]
    check(method.prompt(frames[0], []), frames[0], Query(""), Status.NO_TARGET)
    assert method.reasoner.questions == []


def test_prompts_that_the_segmenter_cannot_use_are_refused(make, frames):
    method = make()
    method.segmenter.needs_boxes = True
    refused = method.prompt(frames[0], [Grounding([8, 8, 9, 9], [[8, 8]], has_box=False)])
    check(refused, frames[0], Query(""), Status.REFUSED)


def test_a_batch_has_an_answer_for_each_frame_in_its_order(make, frames):
    queries = [Query("one", "a"), Query("two", "b"), Query("three", "c")]
    answers = make().answer_batch(frames, queries)
    for frame, query, answer in zip(frames, queries, answers, strict=True):
        check(answer, frame, query)
    assert make().answer_batch([], []) == []


def test_the_past_is_answered_on_one_of_its_frames(make, frames):
    found = make().answer_history(frames, QUERY)
    check(found, next(frame for frame in frames if frame is found.frame))
    with pytest.raises(InvalidInput, match="no frames"):
        make().answer_history([], QUERY)


@pytest.mark.parametrize("count", [1, 3])
def test_a_video_has_an_answer_for_each_frame_in_its_order(make, frames, count):
    answers = make().answer_video(frames[:count], QUERY)
    assert len(answers) == count
    for frame, answer in zip(frames, answers, strict=False):
        check(answer, frame)


def test_the_settings_can_be_replaced_between_two_answers(make, frames):
    method = make()
    assert method.answer(frames[0], QUERY).regions[0].raw_mask is None
    now = method.settings.now
    method.settings.change(replace(now, segmenter=replace(now.segmenter, keep_raw_mask=True)))
    assert method.answer(frames[0], QUERY).regions[0].raw_mask is not None


def test_preparing_changes_no_answer_and_stops_when_it_is_not_wanted(make, frames):
    method = make()
    for is_wanted in (lambda: True, lambda: False):
        assert method.prepare(frames[0], is_wanted) is None
        check(method.answer(frames[0], QUERY), frames[0])

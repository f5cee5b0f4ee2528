"""The method's own order of work: what runs beside what, and that it does not change an answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.config import Config
from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import ModelError, OutOfMemory
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.refinement import RefinedSegmenter
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Frame, Grounding, Query, Status

TWO = '<think>two</think><answer>[{"bbox_2d":[2,2,9,9]},{"bbox_2d":[12,2,19,9]}]</answer>'
NONE = "<think>nothing fits</think><answer>[]</answer>"


class CountingSegmenter(ScriptedSegmenter):
    """Remembers the threads in which it encoded; waits for its gate before it does."""

    def __init__(self) -> None:
        super().__init__("box")
        self.threads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.is_full = False

    def encode(self, rgb):
        self.gate.wait(60)
        self.threads.append(threading.current_thread().name)
        if self.is_full:
            raise OutOfMemory("no memory; use a smaller image")
        return super().encode(rgb)


@pytest.fixture
def frame() -> Frame:
    return Frame(np.zeros((12, 24, 3), np.uint8))


def method(*texts: str, beside: bool = True) -> SegZero:
    config = replace(Config(), segmenter=SegmenterConfig(encode_beside=beside))
    return SegZero(ScriptedReasoner(texts), CountingSegmenter(), config)


def test_masks_are_the_same_beside_and_after(frame: Frame) -> None:
    one, other = (method(TWO, beside=beside).answer(frame, Query("a")) for beside in (True, False))
    assert one.status is Status.OK
    assert len(one.regions) == 2
    for region, same in zip(one.regions, other.regions, strict=True):
        np.testing.assert_array_equal(region.mask, same.mask)
        assert region.mask_score == same.mask_score


def test_the_image_is_encoded_while_the_reasoner_thinks(frame: Frame) -> None:
    beside = method(TWO)
    beside.segmenter.gate.clear()
    heard = []

    def hear(text: str, tokens: int) -> None:
        heard.append(tokens)
        beside.segmenter.gate.set()  # the reasoner speaks before the image is encoded

    assert beside.answer(frame, Query("a"), Call(on_text=hear)).status is Status.OK
    assert heard
    (thread,) = beside.segmenter.threads
    assert thread != threading.current_thread().name


@pytest.mark.parametrize("text", [TWO, NONE])
def test_after_the_reasoner_only_what_is_needed_is_encoded(frame: Frame, text: str) -> None:
    after = method(text, beside=False)
    after.answer(frame, Query("a"))
    assert after.segmenter.threads == ([threading.current_thread().name] if text == TWO else [])


def test_an_encoding_that_nobody_wants_does_not_hold_up_the_answer(frame: Frame) -> None:
    with closed_gate(method(NONE, TWO)) as beside:
        assert beside.answer(frame, Query("a")).status is Status.NO_TARGET
        cancelled = beside.answer(frame, Query("b"), Call(cancelled=lambda: True))
        assert (cancelled.status, cancelled.regions) == (Status.CANCELLED, ())


@contextmanager
def closed_gate(one: SegZero) -> Iterator[SegZero]:
    one.segmenter.gate.clear()
    yield one
    one.segmenter.gate.set()


@pytest.mark.parametrize("beside", [True, False])
def test_memory_that_runs_out_is_the_answers_status(frame: Frame, beside: bool) -> None:
    full = method(TWO, beside=beside)
    full.segmenter.is_full = True
    found = full.answer(frame, Query("a"))
    assert (found.status, found.regions) == (Status.OUT_OF_MEMORY, ())
    full.segmenter.is_full = False
    assert full.answer(frame, Query("a")).status is Status.OK


def test_a_prepared_frame_is_not_encoded_again(frame: Frame) -> None:
    ready = method(TWO)
    counting = ready.segmenter
    ready.segmenter = KeptFeatures(counting, 2)
    ready.prepare(frame)
    assert ready.answer(frame, Query("a")).status is Status.OK
    assert len(counting.threads) == 1
    ready.answer(Frame(frame.rgb.copy()), Query("a"))
    assert len(counting.threads) == 2


def test_preparing_ends_where_it_is_not_wanted_any_more(frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = method(TWO)
    read = []
    monkeypatch.setattr(ready.reasoner, "prepare", read.append)
    ready.prepare(frame, lambda: False)
    assert (len(ready.segmenter.threads), read) == (1, [])
    ready.prepare(frame)
    assert read == [frame]


class EmptySegmenter(ScriptedSegmenter):
    """Marks no pixel of the groundings whose numbers are in `empty`."""

    def __init__(self, *empty: int) -> None:
        super().__init__("box")
        self.empty = empty

    def decode(self, features, groundings):
        masks = super().decode(features, groundings)
        return [
            replace(scored, mask=np.zeros_like(scored.mask)) if index in self.empty else scored
            for index, scored in enumerate(masks)
        ]


def test_ok_never_comes_with_an_empty_mask(frame: Frame) -> None:
    for empty, status, count in (((), Status.OK, 2), ((0,), Status.OK, 1), ((0, 1), Status.EMPTY_MASK, 0)):
        segzero = SegZero(ScriptedReasoner([TWO]), EmptySegmenter(*empty), Config())
        asked = segzero.answer(frame, Query("a"))
        for answer in (asked, segzero.prompt(frame, asked.answer.groundings)):
            assert (answer.status, len(answer.regions)) == (status, count)
            assert all(region.mask.any() for region in answer.regions)
            assert answer.answer.error.count("its mask is empty") == len(empty)
            assert len(answer.answer.groundings) == 2


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("call", "stage"), [("answer", "reasoning"), ("encode", "segmenting"), ("decode", "segmenting")]
)
@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ModelError("mask decoder: not finite"), Status.FAILED, "mask decoder: not finite"),
        (IndexError("out of range\nat line 3"), Status.FAILED, "IndexError: out of range at line 3"),
        (MemoryError(), Status.OUT_OF_MEMORY, "out of memory; use a smaller image or model"),
        (OutOfMemory("use a smaller image"), Status.OUT_OF_MEMORY, "use a smaller image"),
    ],
)
def test_any_error_of_a_model_is_a_status_with_its_stage(
    frame: Frame, beside: bool, call: str, stage: str, error: Exception, status: Status, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    reasoner, segmenter = ScriptedReasoner([error if call == "answer" else TWO]), ScriptedSegmenter("box")
    if call != "answer":
        setattr(segmenter, call, fail)
    config = replace(Config(), segmenter=SegmenterConfig(encode_beside=beside))
    answer = SegZero(reasoner, segmenter, config).answer(frame, Query("a"))
    assert (answer.status, answer.regions) == (status, ())
    assert answer.answer.error == f"{stage}: {reason}"


def test_points_alone_are_refused_where_the_segmenter_needs_boxes(frame: Frame) -> None:
    point = Grounding([3, 3, 4, 4], [[3, 3]], has_box=False)
    segmenter = ScriptedSegmenter("box")
    segzero = SegZero(ScriptedReasoner([TWO]), KeptFeatures(RefinedSegmenter(segmenter, [])), Config())
    assert segzero.prompt(frame, [point]).status is Status.OK
    segmenter.needs_boxes = True
    segzero = SegZero(ScriptedReasoner([TWO]), KeptFeatures(RefinedSegmenter(segmenter, [])), Config())
    refused = segzero.prompt(frame, [point])
    assert refused.status is Status.REFUSED
    assert "needs a box for each target" in refused.answer.error
    assert segzero.prompt(frame, [replace(point, has_box=True)]).status is Status.OK

"""LLM-Seg over scripted models, and over the embedded ones."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reasonseg_ros.config import config_from
from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.files.documents import read_yaml_document
from reasonseg_ros.files.resources import resource
from reasonseg_ros.geometry import box_iou, mask_box
from reasonseg_ros.images.files import read_image
from reasonseg_ros.methods.llm_seg import LlmSeg, join_overlapping, selection_folder
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.abilities import Ability
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.thoughts import Thought
from reasonseg_ros.segmenter.everything import Everything, EverythingOptions
from reasonseg_ros.segmenter.port import ScoredMask
from reasonseg_ros.segmenter.regions import build_region
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.selection.card import SelectionCard
from reasonseg_ros.selection.choosing import SelectionRule
from reasonseg_ros.selection.selector import MaskScores, Selector
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Status

RED, BLUE = (200, 20, 20), (20, 20, 200)
LOOKS = np.ones((2, 3, 4), np.float32)
QUESTION = Query("the red ones", "q1")


class Thinker(Reasoner):
    """Its hidden state is the colour that the question names."""

    name, state_width = "thinker", 3
    abilities = frozenset([Ability.ATTENTION])

    def answer(self, frame, text, call=WAIT):
        raise AssertionError("LLM-Seg needs the thought alone")

    def think(self, frame, text, call=WAIT):
        call.on_text("<think>red", 1)
        if call.cancelled():
            return Answer(Status.CANCELLED, error="cancelled while thinking")
        if "boom" in text:
            raise ZeroDivisionError("by zero")
        colour = np.array([[0, 0, 0], [1, 0, 0] if "red" in text else [0, 1, 0]], np.float32)
        return Thought("<think>look for it</think><answer>", 5, colour, np.ones((3, 4, 3), np.float32), LOOKS, 0.5)


class ColourSelector(Selector):
    """The IoP of a mask is the strength of the colour in question: numbers 6 to 8 of its vector are its mean colour."""

    def __init__(self, error=None):
        self.card = SelectionCard("", "", "", "", (32, 32), 3 + 3 + 6 + 11 + 6, 3, SelectionRule("iop", 0.5, 0.4))
        self.error = error

    def select(self, masks, states):
        if self.error:
            raise self.error
        iop = (masks[:, 6:9] @ states[-1]).astype(np.float32)
        return MaskScores(iop, iop, self.card.rule.choose(iop, iop))


class CountingSegmenter(ScriptedSegmenter):
    encoded = 0

    def encode(self, rgb):
        self.encoded += 1
        return super().encode(rgb)


@pytest.fixture
def frame():
    rgb = np.full((60, 80, 3), 90, np.uint8)
    rgb[10:30, 50:70], rgb[35:55, 8:28], rgb[5:20, 5:20] = RED, (210, 20, 20), BLUE
    return Frame(rgb, 5, "eye")


@pytest.fixture
def make():
    def make(error=None):
        segmenter = CountingSegmenter("box")
        method = LlmSeg(SegZero(Thinker(), segmenter, config_from({})), ColourSelector(error))
        options = EverythingOptions(grid_wh=(16, 12), min_stability=0.5, max_share=0.4)
        method.everything = Everything(segmenter, options)
        return method

    return make


def test_the_masks_that_are_meant_become_regions_from_left_to_right(make, frame):
    found = make().answer(frame, QUESTION)
    assert (found.status, found.answer.thought, found.answer.tokens) == (Status.OK, "look for it", 5)
    assert [region.box_xyxy.tolist() for region in found.regions] == [[8, 35, 28, 55], [50, 10, 70, 30]]
    assert [region.grounding.score for region in found.regions] == pytest.approx([210 / 255, 200 / 255], abs=0.02)
    assert set(found.seconds) == {"reasoning", "segmenting"} and found.frame is frame
    # A calibration of another method's answers would be wrong for these.
    assert found.answer.entropy_nats is None and found.answer.confidence is None


def test_nothing_that_fits_is_no_target(make, frame):
    found = make().answer(frame, Query("the green one"))
    assert (found.status, found.regions, found.answer.thought) == (Status.NO_TARGET, (), "look for it")


def test_an_even_picture_has_nothing_to_choose_from(make):
    found = make().answer(Frame(np.full((60, 80, 3), 90, np.uint8)), QUESTION)
    assert found.status is Status.NO_TARGET


def test_another_question_about_an_image_is_not_proposed_again(make, frame):
    method = make()
    first, second = method.answer(frame, QUESTION), method.answer(frame, Query("red again"))
    assert method.segmenter.encoded == 1
    np.testing.assert_array_equal(first.mask, second.mask)
    method.answer(replace(frame, rgb=frame.rgb.copy()), QUESTION)
    assert method.segmenter.encoded == 2


def test_stages_and_text_are_reported_and_a_cancelled_question_is_cancelled(make, frame):
    stages, heard = [], []
    make().answer(frame, QUESTION, Call(on_stage=stages.append, on_text=lambda text, _: heard.append(text)))
    assert (stages, heard) == (["reasoning", "segmenting"], ["<think>red"])
    assert make().answer(frame, QUESTION, Call(cancelled=lambda: True)).status is Status.CANCELLED
    asked = iter([False, True])  # cancelled after the thought
    found = make().answer(frame, QUESTION, Call(cancelled=lambda: next(asked, True)))
    assert found.status is Status.CANCELLED


@pytest.mark.parametrize(
    ("error", "status"), [(ModelError("not finite"), Status.FAILED), (MemoryError(), Status.OUT_OF_MEMORY)]
)
def test_what_fails_is_the_status_of_one_question(make, frame, error, status):
    found = make(error).answer(frame, QUESTION)
    assert (found.status, found.regions) == (status, ())
    assert found.answer.error.startswith("segmenting: ")
    failed = make().answer(frame, Query("boom"))
    assert failed.status is Status.FAILED and failed.answer.error == "reasoning: ZeroDivisionError: by zero"


def test_chosen_masks_that_overlap_are_one_target():
    head, handle, inside, beside, touching = np.zeros((5, 10, 20), bool)
    head[0:4, 0:4], handle[3:10, 2:4], inside[1:3, 1:3] = True, True, True  # head and handle share 2 pixels of 14
    beside[0:5, 8:12], touching[4:9, 11:16] = True, True  # they share 1 pixel of 20

    def region(mask, iop, score):
        return build_region(Grounding(mask_box(mask), score=iop), ScoredMask(mask, score), SegmenterConfig())

    parts = [region(head, 0.7, 0.8), region(beside, 0.6, 0.5), region(touching, 0.5, 0.4)]
    later = [region(inside, 0.9, 0.3), region(handle, 0.8, 0.9)]
    for order in ([*parts, *later], [*later, *parts], [*later[::-1], *parts[::-1]]):
        found = sorted(join_overlapping(order, SegmenterConfig()), key=lambda region: region.box_xyxy[0])
        whole = found[0]
        assert [one.mask.sum() for one in found] == [(head | handle).sum(), 20, 25]
        np.testing.assert_array_equal(whole.mask, head | handle)
        np.testing.assert_array_equal(whole.box_xyxy, [0, 0, 4, 10])
        np.testing.assert_array_equal(whole.grounding.box_xyxy, whole.box_xyxy)
        assert (whole.grounding.score, whole.mask_score) == pytest.approx((0.9, 0.9))
        assert not len(whole.grounding.points_xy) and whole.box_iou == 1 and whole.raw_mask is None
    keeping = SegmenterConfig(keep_raw_mask=True)
    raw = [replace(one, raw_mask=~one.mask) for one in (region(head, 0.7, 0.8), region(handle, 0.8, 0.9))]
    (whole,) = join_overlapping(raw, keeping)
    np.testing.assert_array_equal(whole.raw_mask, ~head | ~handle)


def test_everything_is_proposed_without_a_question(make, frame):
    found = make().propose(Frame(frame.rgb[:30]))
    assert found.status is Status.OK and len(found.regions) >= 3
    areas = [int(region.mask.sum()) for region in found.regions]
    assert areas == sorted(areas, reverse=True)
    assert make().propose(frame, Call(cancelled=lambda: True)).status is Status.CANCELLED


@pytest.fixture(scope="module")
def embedded():
    return load_method(config_from({"method": "llm_seg", "segmenter.device": "cpu", "reasoner.threads": 1}))


def test_the_embedded_models_find_something_that_is_asked_for(embedded):
    document = read_yaml_document(resource("models/tabletop/known_picture.yaml"))
    frame = Frame(read_image(resource("models/tabletop") / document["image"]))
    right = 0
    for target in document["targets"]:
        found = embedded.answer(frame, Query(target["question"]))
        right += any(box_iou(region.box_xyxy, target["box_xyxy"]) > 0.6 for region in found.regions)
    assert right >= 2  # of three
    assert embedded.make_tracker is not None and embedded.make_tracker().step is not None


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"reasoner.backend": "local"}, ConfigError, "set reasoner.backend to onnxruntime"),
        ({"selection.model": "nowhere"}, ModelError, "selection.model = 'nowhere' is no folder"),
        ({"answer.min_confidence": 0.5}, ConfigError, "not of LLM-Seg's answers"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_it_is_loaded(values, error, words):
    with pytest.raises(error, match=words):
        load_method(config_from({"method": "llm_seg", "segmenter.device": "cpu", "reasoner.device": "cpu", **values}))


def test_a_reasoner_without_attention_is_refused():
    blind = Thinker()
    blind.state_width, blind.abilities = 192, frozenset()
    with pytest.raises(ConfigError, match="needs the attention of the thought to the image, and thinker gives none"):
        LlmSeg.build(blind, ScriptedSegmenter("box"), Settings(config_from({})))


def test_a_selection_refuses_other_models(tmp_path: Path):
    folder = tmp_path / "segmenter"
    shutil.copytree(resource("models/tabletop/segmenter/onnx"), folder)
    manifest = (folder / "manifest.json").read_text()
    sha256 = manifest.split('"weights_sha256": "')[1][:64]
    (folder / "manifest.json").write_text(manifest.replace(sha256, "0" * 64))
    with pytest.raises(ModelError, match="other weights of the segmenter"):
        load_method(config_from({"method": "llm_seg", "segmenter.device": "cpu", "segmenter.model": str(folder)}))
    assert selection_folder("tabletop").name == "selection"

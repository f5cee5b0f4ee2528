"""Candidates are found, compared, and the best is the answer; over scripted models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.config import config_from
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.methods.candidates import ATTENTION, DIRECT, SAMPLE
from reasonseg_ros.methods.rea2_seg import Rea2Seg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.abilities import Ability
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Frame, Query, Status

QUERY = Query("what is bright?")
NONE = "<think>nothing fits</think><answer>[]</answer>"
BROKEN = "<think>I cannot tell</think>"


def said(*box):
    return f'<think>at {box[0]}</think><answer>[{{"bbox_2d":{list(box)}}}]</answer>'


A, A_AGAIN, B = said(4, 4, 20, 20), said(4, 4, 20, 19), said(30, 20, 50, 40)


@pytest.fixture
def frame():
    return Frame(np.zeros((48, 64, 3), np.uint8))


def method(*texts, attention=None, segmenter=None, **values):
    reasoner = ScriptedReasoner(texts, attention=attention)
    config = config_from({f"candidates.{name}": value for name, value in values.items()})
    return Rea2Seg(SegZero(reasoner, segmenter or ScriptedSegmenter("box"), config))


def test_the_answer_that_most_samples_mean_wins(frame):
    found = method(A, B, B, A_AGAIN, samples=3).compare(frame, QUERY)
    assert [(one.source, one.votes) for one in found.candidates] == [(DIRECT, 1), (SAMPLE, 2)]
    assert (found.scores, found.best) == ((1.5, 2), 1)
    segmentation = found.segmentation
    assert (segmentation.status, segmentation.answer.thought) == (Status.OK, "at 30")
    assert segmentation.regions[0].box_xyxy.tolist() == [30, 20, 50, 40]
    assert set(segmentation.seconds) == {"reasoning", "segmenting", "comparing"}
    assert [one.box_xyxy.tolist() for one in segmentation.alternative] == [[4, 4, 20, 20]]


def test_how_sure_the_answer_is_stays_that_of_the_direct_one(frame, monkeypatch):
    tried = method(A, B, B, A_AGAIN, samples=3)
    explore = tried.reasoner.explore

    def unsure(*arguments):
        explored = explore(*arguments)
        return replace(explored, answer=replace(explored.answer, no_entropy="it gave no log-probabilities"))

    monkeypatch.setattr(tried.reasoner, "explore", unsure)
    answer = tried.answer(frame, QUERY).answer
    assert (answer.thought, answer.entropy_nats) == ("at 30", None)
    assert answer.no_entropy == "it gave no log-probabilities"


@pytest.mark.parametrize(
    ("texts", "thought"),
    [
        ((A, B, A), "at 4"),
        ((A, BROKEN, BROKEN), "at 4"),
        ((NONE, A, NONE), "nothing fits"),
    ],
)
def test_the_direct_answer_wins_ties_and_alone(frame, texts, thought):
    found = method(*texts, samples=2).compare(frame, QUERY)
    assert found.best == 0 and found.segmentation.answer.thought == thought
    assert (found.segmentation.alternative is None) == (len(found.candidates) == 1)


def test_split_votes_do_not_replace_the_direct_answer_and_a_majority_does(frame):
    found = method(A, B, NONE, samples=2).compare(frame, QUERY)
    assert (found.scores, found.best) == ((1, 1, 1), 0)
    found = method(A, B, B, samples=2).compare(frame, QUERY)
    assert (found.scores, found.best) == ((1, 2), 1)


def test_that_nothing_fits_can_win(frame):
    segmentation = method(A, NONE, NONE, samples=2).answer(frame, QUERY)
    assert (segmentation.status, segmentation.regions) == (Status.NO_TARGET, ())
    assert not segmentation.mask.any()


def test_samples_replace_a_direct_answer_that_cannot_be_read(frame):
    found = method(BROKEN, A, A, samples=2).compare(frame, QUERY)
    assert [one.source for one in found.candidates] == [SAMPLE]
    assert found.segmentation.status is Status.OK
    none = method(BROKEN, BROKEN, samples=1).compare(frame, QUERY)
    assert (none.segmentation.status, none.best, none.candidates) == (Status.UNPARSABLE, -1, ())


def test_attention_alone_never_wins_by_votes(frame):
    attention = np.zeros((6, 8), np.float32)
    attention[4, 6] = 1.0
    found = method(BROKEN, attention=attention, samples=1).compare(frame, QUERY)
    assert {one.source for one in found.candidates} == {ATTENTION}
    assert (found.segmentation.status, found.best) == (Status.UNPARSABLE, -1)


def test_the_model_can_prefer_what_it_attended_to(frame):
    attention = np.zeros((6, 8), np.float32)
    attention[4, 6] = 1.0
    replies = ['{"score": 1}', '{"score": 9}', '{"score": 4}', '{"1": 1, "2": 9, "3": 4}']
    compared = method(A, *replies, attention=attention, samples=0, comparison="asked").compare(frame, QUERY)
    assert [one.source for one in compared.candidates] == [DIRECT, ATTENTION, ATTENTION][: len(compared.candidates)]
    assert compared.candidates[compared.best].source == ATTENTION
    x1, y1, x2, y2 = compared.segmentation.regions[0].box_xyxy
    assert x1 < 52 < x2 and y1 < 36 < y2
    assert compared.segmentation.status is Status.OK


def test_replies_that_cannot_be_read_leave_the_direct_answer(frame):
    found = method(A, B, "both are good", "yes", "no", samples=1, attention=None, comparison="asked")
    compared = found.compare(frame, QUERY)
    assert (compared.scores, compared.best) == ((None, None), 0)
    assert compared.segmentation.answer.thought == "at 4"


def test_empty_masks_are_no_candidates(frame):
    class Empty(ScriptedSegmenter):
        def decode(self, features, groundings):
            masks = super().decode(features, groundings)
            for mask in masks:
                mask.mask[:] &= np.arange(64) >= 25
            return masks

    found = method(A, A, B, samples=2, segmenter=Empty("box")).compare(frame, QUERY)
    assert [one.source for one in found.candidates] == [SAMPLE]
    assert found.segmentation.status is Status.OK
    nothing = method(A, A, samples=1, segmenter=Empty("box")).answer(frame, QUERY)
    assert (nothing.status, nothing.regions) == (Status.EMPTY_MASK, ())


def test_failures_of_the_segmenter_are_a_status(frame):
    class Broken(ScriptedSegmenter):
        def decode(self, features, groundings):
            raise ModelError("broken weights")

    segmentation = method(A, samples=1, segmenter=Broken()).answer(frame, QUERY)
    assert (segmentation.status, segmentation.answer.error) == (Status.FAILED, "segmenting: broken weights")


def test_a_question_that_is_cancelled_while_it_samples_is_cancelled(frame):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 12

    segmentation = method(A, samples=8).answer(frame, QUERY, Call(cancelled=cancelled))
    assert segmentation.status is Status.CANCELLED


class Plain(ScriptedReasoner):
    """Answers, and does nothing else."""

    abilities = frozenset()


@pytest.mark.parametrize(
    ("abilities", "values", "reason"),
    [
        ((), {}, "reasoner scripted gives no attention and no samples"),
        ((Ability.SAMPLES,), {}, "no attention; set candidates.attention to false"),
        ((Ability.ATTENTION,), {"comparison": "asked"}, "no replies and no samples"),
        ((Ability.SAMPLES, Ability.ATTENTION), {"comparison": "asked"}, "set candidates.comparison to votes"),
        (tuple(Ability), {"samples": 0}, "candidates.samples = 0 with candidates.comparison = 'votes'"),
    ],
)
def test_what_the_reasoner_cannot_do_is_refused_at_once(abilities, values, reason):
    reasoner = Plain([A])
    reasoner.abilities = frozenset(abilities)
    config = config_from({f"candidates.{name}": value for name, value in values.items()})
    with pytest.raises(ConfigError, match=reason):
        Rea2Seg(SegZero(reasoner, ScriptedSegmenter(), config))


def test_a_reasoner_that_only_answers_and_replies_is_enough():
    reasoner = Plain([A])
    reasoner.abilities = frozenset((Ability.REPLIES,))
    values = {"candidates.samples": 0, "candidates.attention": False, "candidates.comparison": "asked"}
    assert Rea2Seg(SegZero(reasoner, ScriptedSegmenter(), config_from(values))).name == "rea2_seg"

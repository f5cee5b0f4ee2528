"""Signals, calibration and the threshold, with scripted models and in numbers worked by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.config import config_from
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.methods.confidence import Calibration, Signals, read_calibration
from reasonseg_ros.methods.confident import Confident, with_confidence
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.reasoner.vocabulary import Vocabulary
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Segmentation, Status

BOX = Grounding([4, 4, 12, 12], [[8, 8]])
FRAME = Frame(np.zeros((48, 64, 3), np.uint8), 7)
CALIBRATION = Calibration("ab12", (-1.0, 0.0, 0.5, 0.0, 0.0, -3.0, 0.0), 2.0, 0.3, 100, 0.8, 0.05, "by hand")
QUERY = Query("what?", "q")


def answering(entropy_nats, status=Status.OK, calibration=CALIBRATION, **values):
    """A method whose reasoner gives one answer of this entropy."""
    groundings = (BOX,) if status is Status.OK else ()
    error = "" if status.is_answer else "why"
    answer = Answer(status, "it is red", groundings, error=error, entropy_nats=entropy_nats)
    inner = SegZero(ScriptedReasoner([answer]), ScriptedSegmenter("box"), config_from(values))
    return Confident(inner, calibration)


def test_the_confidence_is_the_logistic_of_the_weighted_signals():
    # log-odds 2 - log1p(e - 1) = 1 with a target, 1.5 with none
    answer = answering(math.e - 1).answer(FRAME, QUERY).answer
    assert answer.confidence == pytest.approx(1 / (1 + math.exp(-1.0)))
    nothing = answering(math.e - 1, Status.NO_TARGET).answer(FRAME, QUERY).answer
    assert nothing.confidence == pytest.approx(1 / (1 + math.exp(-1.5)))


def test_the_signals_are_those_of_the_worst_region():
    method = answering(0.5)
    found = method.inner.answer(FRAME, QUERY)
    worse = replace(found.regions[0], mask_score=0.25, box_iou=0.5)
    signals = Signals.of(replace(found, regions=(*found.regions, worse)))
    assert (signals.mask_score, signals.box_iou, signals.targets, signals.is_none) == (0.25, 0.5, 1, False)
    assert len(signals.values) == len(Signals.names())


@pytest.mark.parametrize("status", [Status.UNPARSABLE, Status.TIMEOUT, Status.FAILED])
def test_a_failure_has_no_confidence(status):
    assert answering(0.5, status).answer(FRAME, QUERY).answer.confidence is None


def test_without_an_entropy_there_is_no_confidence_and_nothing_is_unsure():
    method = answering(None, **{"answer.min_confidence": 0.99})
    answer = method.answer(FRAME, QUERY).answer
    assert (answer.confidence, answer.status) == (None, Status.OK)


def test_an_answer_says_why_a_server_gave_no_entropy():
    answer = Answer(Status.OK, "it is red", (BOX,), no_entropy="it gave no log-probabilities")
    method = Confident(SegZero(ScriptedReasoner([answer]), ScriptedSegmenter("box"), config_from({})), CALIBRATION)
    found = method.answer(FRAME, QUERY).answer
    assert (found.status, found.confidence) == (Status.OK, None)
    assert found.error == "no confidence: it gave no log-probabilities"


def served(calibration, tmp_path, **values):
    """What `with_confidence` makes of a method over a server's reasoner, with `calibration` as its file."""
    path = tmp_path / "served.json"
    path.write_text(json.dumps(calibration.to_json()))
    config = config_from(
        {"reasoner.backend": "server", "reasoner.model": "vision-reasoner-7b", "reasoner.confidence_file": str(path),
         **values}
    )  # fmt: skip
    inner = SegZero(ScriptedReasoner([]), ScriptedSegmenter("box"), config)
    return with_confidence(inner, Settings(config))


def test_a_served_model_takes_the_calibration_of_its_name(tmp_path):
    mine = replace(CALIBRATION, weights_sha256="", served_model="Ricky06662/VisionReasoner-7B")
    assert served(mine, tmp_path).calibration == mine
    with pytest.raises(ModelError, match="was fitted for weights loaded here, and is used for the served model"):
        served(CALIBRATION, tmp_path)
    with pytest.raises(ModelError, match="was fitted for the served model 'another'"):
        served(replace(mine, served_model="another"), tmp_path)
    with pytest.raises(ConfigError, match=r"set reasoner\.server_logprobs to true"):
        served(mine, tmp_path, **{"reasoner.server_logprobs": False})


def test_weights_that_are_loaded_here_refuse_the_calibration_of_a_served_model(tmp_path):
    mine = replace(CALIBRATION, weights_sha256="", served_model="a")
    values = {"reasoner.backend": "auto", "reasoner.model": "tabletop-reasoner"}
    with pytest.raises(ModelError, match="was fitted for the served model 'a', and is used for weights loaded here"):
        served(mine, tmp_path, **values)
    with pytest.raises(ConfigError, match=r"are not in a folder; set reasoner\.model to their folder"):
        served(mine, tmp_path, **{**values, "reasoner.model": "vision-reasoner-7b"})


def test_below_the_threshold_an_answer_is_unsure_and_keeps_its_masks():
    values = {"answer.min_confidence": 0.8}
    sure, unsure = (answering(nats, **values).answer(FRAME, QUERY) for nats in (0.1, 5.0))
    assert (sure.status, sure.answer.error) == (Status.OK, "")
    assert unsure.status is Status.UNSURE and len(unsure.regions) == 1 and unsure.regions[0].mask.any()
    assert unsure.answer.error == f"confidence {unsure.answer.confidence:.2f} is below 0.8 (answer.min_confidence)"
    assert not unsure.status.is_answer  # a consumer that only takes answers stays safe


def said(*boxes):
    groundings = tuple(Grounding(list(box)) for box in boxes)
    return Answer(Status.OK if boxes else Status.NO_TARGET, "", groundings, entropy_nats=50.0)


THIS, ALMOST_THIS, THAT = (4, 4, 12, 12), (4, 4, 12, 11), (30, 20, 50, 40)


def asked_back(*answers, min_confidence=0.8, reasoner=ScriptedReasoner, **values):
    """What a method says whose reasoner gives the first answer when asked, and again and then the others as samples."""
    settings = config_from({"answer.min_confidence": min_confidence, "candidates.samples": len(answers) - 1, **values})
    scripted = reasoner([answers[0], *answers])
    found = Confident(SegZero(scripted, ScriptedSegmenter("box"), settings), CALIBRATION).answer(FRAME, QUERY)
    return found, scripted


def boxes(regions):
    return [tuple(region.box_xyxy.astype(int).tolist()) for region in regions]


def test_an_unsure_answer_comes_with_the_sample_that_most_others_mean():
    found, _ = asked_back(said(THIS), said(THIS), said(ALMOST_THIS), said(), said(THAT), said(THAT))
    assert (found.status, boxes(found.regions), boxes(found.alternative)) == (Status.UNSURE, [THIS], [THAT])
    assert "second_candidate" in found.seconds


def test_the_second_candidate_may_be_that_nothing_fits_or_what_may_be_there():
    assert asked_back(said(THIS), said(), said(), said(THAT))[0].alternative == ()
    found, _ = asked_back(said(), said(), said(THAT, THIS))
    assert (found.status, found.regions, boxes(found.alternative)) == (Status.UNSURE, (), [THAT, THIS])


def test_samples_that_all_mean_the_same_give_no_second_candidate():
    assert asked_back(said(THIS), said(THIS), said(ALMOST_THIS))[0].alternative is None


def test_a_sure_answer_is_not_sampled():
    found, reasoner = asked_back(said(THIS), said(THAT), min_confidence=0.0)
    assert (found.status, found.alternative, len(reasoner.questions)) == (Status.OK, None, 1)


def test_a_reasoner_without_samples_gives_no_second_candidate():
    class Plain(ScriptedReasoner):
        abilities = frozenset()

    found, reasoner = asked_back(said(THIS), said(THAT), reasoner=Plain)
    assert (found.status, found.alternative, len(reasoner.questions)) == (Status.UNSURE, None, 1)


def test_an_error_of_the_second_candidate_leaves_the_first_and_says_why():
    class Failing(ScriptedReasoner):
        def explore(self, *_):
            raise ZeroDivisionError("by zero")

    found, _ = asked_back(said(THIS), said(THAT), reasoner=Failing)
    assert (found.status, boxes(found.regions), found.alternative) == (Status.UNSURE, [THIS], None)
    assert found.answer.error.endswith("(answer.min_confidence); second candidate: ZeroDivisionError: by zero")


def test_an_unsure_nothing_fits_says_so():
    found = answering(50.0, Status.NO_TARGET, **{"answer.min_confidence": 0.8}).answer(FRAME, QUERY)
    assert (found.status, found.regions) == (Status.UNSURE, ())
    assert found.answer.error.startswith("that nothing fits is unsure: confidence 0.")


def test_the_threshold_is_read_at_each_answer():
    settings = Settings(config_from({}))
    answer = Answer(Status.OK, "", (BOX,), entropy_nats=5.0)
    method = Confident(SegZero(ScriptedReasoner([answer]), ScriptedSegmenter("box"), settings), CALIBRATION)
    assert method.answer(FRAME, QUERY).status is Status.OK  # 0.55, above the calibration's own threshold
    settings.change(config_from({"answer.min_confidence": 0.9}))
    assert method.answer(FRAME, QUERY).status is Status.UNSURE
    assert [found.status for found in method.answer_batch([FRAME], [QUERY])] == [Status.UNSURE]
    for found in (method.answer_history([FRAME], QUERY), method.answer_video([FRAME], QUERY)[0]):
        assert isinstance(found, Segmentation) and (found.status, found.answer.confidence) == (Status.OK, None)


def test_without_a_parameter_the_calibration_s_threshold_holds():
    calibration = replace(CALIBRATION, min_confidence=0.6)
    assert answering(5.0, calibration=calibration).answer(FRAME, QUERY).status is Status.UNSURE
    chosen = answering(5.0, calibration=calibration, **{"answer.min_confidence": 0.0})
    assert chosen.answer(FRAME, QUERY).status is Status.OK


def test_a_question_in_unknown_words_is_less_sure(tmp_path):
    (tmp_path / "words.txt").write_text("red\nmug\n")
    vocabulary = Vocabulary(tmp_path / "words.txt")
    assert vocabulary.unknown_share("Give me the red mug, please!") == 0.0
    assert vocabulary.unknown_share("the red submarine") == 0.5
    assert vocabulary.unknown_words("잠수함 or a submarine?") == ["잠수함", "submarine"]
    assert vocabulary.unknown_share("what is it?") == 0.0
    method = answering(0.5)
    found = [method.inner.answer(FRAME, Query(text)) for text in ("the red mug", "a submarine")]
    known, strange = (CALIBRATION.confidence(Signals.of(one, vocabulary)) for one in found)
    assert known > 0.8 and strange == pytest.approx(1 / (1 + math.exp(-(2 - math.log1p(0.5) - 3))))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_a_vocabulary_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is empty|cannot be read"):
        Vocabulary(path)


def test_a_calibration_comes_back_from_its_file(tmp_path):
    path = tmp_path / "confidence.json"
    path.write_text(json.dumps(CALIBRATION.to_json()))
    assert read_calibration(path, "ab12") == CALIBRATION
    with pytest.raises(ModelError, match="fitted for other weights"):
        read_calibration(path, "cd34")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"coefficients": {"entropy_nats": 1.0}}, {"intercept": "2"}, {"intercept": float("nan")},
        {"questions": None}, {"weights_sha256": 3}, {"auroc": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_calibration_is_refused(tmp_path, change):
    path = tmp_path / "confidence.json"
    path.write_text(json.dumps({**CALIBRATION.to_json(), **change}))
    with pytest.raises(ModelError, match="is no calibration"):
        read_calibration(path, "ab12")


def test_a_threshold_without_a_calibration_is_refused(tmp_path):
    for values in ({"reasoner.model": "qwen2.5-vl-3b"}, {"reasoner.backend": "server"}):
        settings = Settings(config_from({"answer.min_confidence": 0.5, **values}))
        with pytest.raises(ConfigError, match=r"answer\.min_confidence = 0\.5, but"):
            with_confidence(SegZero(ScriptedReasoner([""]), ScriptedSegmenter("box"), settings), settings)
    settings = Settings(config_from({"reasoner.model": "qwen2.5-vl-3b"}))
    plain = SegZero(ScriptedReasoner([""]), ScriptedSegmenter("box"), settings)
    assert with_confidence(plain, settings) is plain

"""A whole evaluation with a reasoner that says what the test wants."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import astuple, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reasonseg_ros import bags
from reasonseg_ros.bags.topics import GROUND_TRUTH_TOPIC, IMAGE_TOPIC
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.pipeline import Pace
from reasonseg_ros.evaluation.result_lines import Results
from reasonseg_ros.evaluation.run import Scoring, evaluate, finish
from reasonseg_ros.evaluation.run_folder import begin, noted_settings
from reasonseg_ros.evaluation.scoring.summary import NO_KIND
from reasonseg_ros.images.run_lengths import mask_from_rle
from reasonseg_ros.reasoner.limits import failure
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.tabletop.questions.question import UNKNOWN_KIND
from reasonseg_ros.types import Query, Status

ROOT = Path(__file__).resolve().parents[2]
BOX, OTHER = (8, 8, 24, 24), (40, 30, 60, 44)
DEFAULT = Scoring()


@pytest.fixture
def run_all(described):
    """A run from start to end; its summary."""

    def run_it(bag, method, out, *, resume=False, limit=0, scoring=DEFAULT):
        settings = {**described, "protocol": scoring.protocol}
        begin(out, settings, resume)
        run = evaluate(read_clips(bag), method, out, scoring, limit)
        return finish(out, run, settings, "reasonseg evaluate")

    return run_it


def without_times(summary):
    return {name: value for name, value in summary.items() if name not in ("latency_s", "memory_peak_mib")}


def test_every_sample_is_answered_scored_and_kept(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    asked = [
        samples_of("right"), samples_of("wrong", kind="relation"), samples_of("none", None, "none"),
        samples_of("imagined", None, "none"), samples_of("mumbled", image=1),
    ]  # fmt: skip
    method = scripted(answer_text(BOX), answer_text(OTHER), answer_text(), answer_text(BOX), "I cannot tell.")
    found = run_all(make_bag(asked), method, tmp_path / "out")

    assert method.reasoner.questions == [f"question {item.query_id}?" for item in asked]
    assert (found["samples"], found["scored"], found["failed"], found["unanswered"]) == (5, 5, 0, 1)
    assert found["giou"] == pytest.approx(2 / 5, abs=1e-6)
    assert (found["parseable"], found["right_target"], found["n_acc"]) == (0.8, 0.4, 0.5)
    assert {kind: group["samples"] for kind, group in found["by_kind"].items()} == {
        "function": 2, "none": 2, "relation": 1
    }  # fmt: skip
    assert found["by_kind"]["relation"]["giou"] == 0.0
    assert {kind: group["samples"] for kind, group in found["by_sgdr"].items()} == {"discriminative": 2, "spatial": 1}
    assert found["by_sgdr"]["discriminative"]["giou"] == found["by_kind"]["function"]["giou"]
    assert {kind: values["samples"] for kind, values in found["failures"].items()} == {
        "F0": 1, "FP": 1, "OK": 2, "T1": 1
    }  # fmt: skip
    low, high = found["intervals_95"]["giou"]
    assert 0 <= low < 0.4 < high <= 1
    assert set(found["latency_s"]) == {"reasoning", "segmenting", "total"}
    assert found["tokens"]["total"] > 0 and found["memory_peak_mib"]["process"] > 10
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == json.loads(json.dumps(found))

    results = Results(tmp_path / "out")
    whole = json.loads((tmp_path / "out" / "results.json").read_text())
    assert whole["run"]["command"] == "reasonseg evaluate"
    assert whole["samples"] == [json.loads(json.dumps(result.to_json())) for result in results.values()]
    assert list(results) == ["right", "wrong", "none", "imagined", "mumbled"]
    assert np.array_equal(mask_from_rle(results["right"].mask), mask_from_rle(results["right"].target))
    assert results["mumbled"].mask is None and results["mumbled"].status == "unparsable" and results["mumbled"].error
    assert results["wrong"].groundings[0]["box_xyxy"] == list(OTHER)
    assert results["wrong"].target_boxes_xyxy == [list(BOX)]
    assert results["right"].ideal_iou == 1.0 and results["none"].ideal_iou is None
    assert (tmp_path / "out" / results["right"].image).is_file()


def test_protocols_are_passed_on(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    def with_ignore(messages):
        ignore = messages[2][1].ignore
        full = np.zeros((48, 64), bool)
        full[8:24, 24:40] = True
        from reasonseg_ros.bags import mask_message

        for name, value in vars(mask_message(full)).items():
            object.__setattr__(ignore, name, value)
        return messages

    bag = make_bag([samples_of("a")], change=with_ignore)
    for protocol, giou in (("lisa", 1.0), ("seg_zero", 0.5)):
        found = run_all(bag, scripted(answer_text(BOX)), tmp_path / protocol, scoring=Scoring(protocol))
        assert found["giou"] == pytest.approx(giou, abs=1e-6)


def test_without_truth_there_are_answers_and_no_scores(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)], with_truth=False)
    found = run_all(bag, scripted(answer_text(BOX)), tmp_path / "out")
    assert (found["samples"], found["scored"], found["without_truth"], found["failed"]) == (2, 0, 2, 0)
    assert found["giou"] is None and found["failures"] == {}
    result = next(iter(Results(tmp_path / "out").values()))
    assert result.score is None and result.failure == "" and result.mask and result.regions[0]["mask_score"] == 0.9


def test_what_cannot_be_read_is_counted(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)], change=lambda messages: messages[1:])
    found = run_all(bag, scripted(answer_text(BOX)), tmp_path / "out")
    assert (found["samples"], found["scored"], found["failed"]) == (2, 1, 1)
    assert found["samples"] == sum(group["samples"] for group in found["by_kind"].values())
    assert [item["sample_id"] for item in found["unreadable"]] == ["a"]


def test_a_limit_takes_the_first(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    bag = make_bag([samples_of(name) for name in "abc"])
    found = run_all(bag, scripted(answer_text(BOX)), tmp_path / "out", limit=2)
    assert found["samples"] == 2


def test_a_run_goes_on_where_it_was(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    bag = make_bag([samples_of(f"{number}", image=number) for number in range(6)])
    texts = [answer_text(BOX), answer_text(OTHER), answer_text(), "mumble", answer_text(BOX), answer_text(OTHER)]
    whole = run_all(bag, scripted(*texts), tmp_path / "whole")
    run_all(bag, scripted(*texts), tmp_path / "parts", limit=2)
    file = tmp_path / "parts" / "results.jsonl"
    file.write_bytes(file.read_bytes()[:-20])  # killed while it wrote the second
    method = scripted(*texts[1:])
    resumed = run_all(bag, method, tmp_path / "parts", resume=True)
    assert method.reasoner.questions == [f"question {number}?" for number in range(1, 6)]
    assert without_times(resumed) == without_times(whole)


def test_a_machine_s_fault_is_asked_again(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    away = ScriptedReasoner([failure(Status.UNAVAILABLE, "the server is away", "away")])
    bag = make_bag([samples_of("a")])
    method = scripted(answer_text(BOX))
    method.reasoner, reasoner = away, method.reasoner
    assert run_all(bag, method, tmp_path / "out")["statuses"] == {"unavailable": 1}
    method.reasoner = reasoner
    assert run_all(bag, method, tmp_path / "out", resume=True)["statuses"] == {"ok": 1}


def test_another_run_s_folder_is_not_mixed(run_all, make_bag, samples_of, scripted, answer_text, tmp_path):
    bag = make_bag([samples_of("a")])
    run_all(bag, scripted(answer_text(BOX)), tmp_path / "out")
    with pytest.raises(InvalidInput, match="--resume"):
        run_all(bag, scripted(answer_text(BOX)), tmp_path / "out")
    with pytest.raises(InvalidInput, match=r"protocol was 'lisa' and is 'seg_zero'"):
        run_all(bag, scripted(answer_text(BOX)), tmp_path / "out", resume=True, scoring=Scoring("seg_zero"))


def test_a_run_without_a_result_starts_again(described, tmp_path):
    begin(tmp_path, described, resume=False)
    (tmp_path / "results.jsonl").touch()
    begin(tmp_path, {**described, "seed": 4}, resume=False)
    assert json.loads((tmp_path / "settings.json").read_text())["seed"] == 4


@pytest.mark.parametrize("text", [None, "", "{"])
def test_results_without_settings_are_not_gone_on_with(described, tmp_path, text):
    (tmp_path / "results.jsonl").write_text("{}\n")
    if text is not None:
        (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InvalidInput, match="choose another --out"):
        begin(tmp_path, described, resume=True)


def test_a_run_whose_lines_are_gone_is_neither_gone_on_with_nor_overwritten(
    run_all, described, make_bag, samples_of, scripted, answer_text, tmp_path
):
    out = tmp_path / "out"
    run_all(make_bag([samples_of("a")]), scripted(answer_text(BOX)), out)
    (out / "results.jsonl").unlink()
    before = (out / "results.json").read_bytes()
    for resume in (False, True):
        with pytest.raises(InvalidInput, match=r"without its results\.jsonl.*choose another --out"):
            begin(out, described, resume)
    assert (out / "results.json").read_bytes() == before


def test_a_run_is_resumed_by_another_command_and_keeps_its_first(described, tmp_path):
    begin(tmp_path, described, False, "reasonseg evaluate bag")
    (tmp_path / "results.jsonl").write_text("{}\n")
    begin(tmp_path, described, True, "reasonseg evaluate bag --resume")
    assert noted_settings(tmp_path) == {**described, "command": "reasonseg evaluate bag"}
    (tmp_path / "settings.json").write_text('{"seed": 4}')
    assert noted_settings(tmp_path) == {"seed": 4, "command": "(not noted)"}, "as older runs left it"


KILLED = """
import json, sys
from reasonseg_ros.config import Config
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.pipeline import Pace
from reasonseg_ros.evaluation.run import Scoring, evaluate
from reasonseg_ros.evaluation.run_folder import begin
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from pathlib import Path
bag, out = Path(sys.argv[1]), Path(sys.argv[2])
begin(out, json.loads(sys.argv[4]), False)

class Reasoner(ScriptedReasoner):
    def answer_batch(self, frames, texts):
        return [self.answer(frame, text) for frame, text in zip(frames, texts)]

method = SegZero(Reasoner([sys.argv[3]], word_s=0.02), ScriptedSegmenter("box"), Config())
evaluate(read_clips(bag), method, out, Scoring(), pace=Pace(*json.loads(sys.argv[5])))
"""


@pytest.mark.parametrize("pace", [Pace(), Pace(batch_size=4, most_ahead=4)], ids=str)
def test_a_killed_process_loses_at_most_the_samples_in_flight(
    run_all, described, make_bag, samples_of, scripted, answer_text, tmp_path, pace
):
    bag = make_bag([samples_of(f"{number}", image=number) for number in range(40)])
    out, text = tmp_path / "out", answer_text(BOX)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(bag), str(out), text, json.dumps(described), json.dumps(astuple(pace))],
        cwd=ROOT,
    )
    lines = out / "results.jsonl"
    deadline_s = time.monotonic() + 60
    while not lines.exists() or lines.read_bytes().count(b"\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline_s
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = lines.read_bytes().count(b"\n")
    method = scripted(text)
    resumed = run_all(bag, method, out, resume=True)
    assert 3 <= done < 40 and len(method.reasoner.questions) == 40 - done
    whole = run_all(bag, scripted(text), tmp_path / "whole")
    assert without_times(resumed) == without_times(whole)


def test_a_mask_without_pixels_is_scored_as_an_empty_mask(
    run_all, make_bag, samples_of, scripted, answer_text, tmp_path
):
    """The reasoner pointed at something, the segmenter marked nothing: a result of the models, not a fault."""
    method = scripted(answer_text(BOX))
    method.segmenter._fill = lambda grounding, size_wh: np.zeros(size_wh[::-1], bool)
    found = run_all(make_bag([samples_of("a"), samples_of("b", None)]), method, tmp_path / "out")
    assert found["statuses"] == {"empty_mask": 2} and (found["unanswered"], found["parseable"]) == (0, 1.0)
    results = Results(tmp_path / "out")
    assert [result.score.iou for result in results.values()] == [0.0, 1.0]
    assert (results["a"].ideal_iou, results["a"].ideal_error, results["a"].asked_again) == (0.0, "", False)


def test_an_empty_mask_has_its_own_status_and_is_scored_as_empty(
    run_all, make_bag, samples_of, scripted, answer_text, tmp_path
):
    method = scripted(answer_text(BOX))
    decode = method.segmenter.decode
    method.segmenter.decode = lambda *prompts: [
        replace(scored, mask=np.zeros_like(scored.mask)) for scored in decode(*prompts)
    ]
    bag = make_bag([samples_of("there"), samples_of("not there", None, "none", image=1)])
    found = run_all(bag, method, tmp_path / "out")
    assert found["statuses"] == {"empty_mask": 2} and (found["failed"], found["parseable"]) == (0, 1.0)
    results = list(Results(tmp_path / "out").values())
    assert [(result.failure, result.failure_tags) for result in results] == [("FN", ["mask lost"]), ("OK", [])]
    assert [result.score.iou for result in results] == [0.0, 1.0]
    assert all(result.regions == [] and len(result.groundings) == 1 and result.error for result in results)


def test_a_model_whose_numbers_are_not_finite_fails_its_samples_and_writes_none_of_them(
    run_all, make_bag, samples_of, scripted, answer_text, tmp_path
):
    method = scripted(answer_text(BOX))
    decode, calls = method.segmenter.decode, []

    def damaged(*prompts):
        calls.append(1)
        return [replace(scored, score=float("nan" if len(calls) == 1 else 0.5)) for scored in decode(*prompts)]

    method.segmenter.decode = damaged
    found = run_all(make_bag([samples_of("a"), samples_of("b", image=1)]), method, tmp_path / "out")
    assert found["statuses"] == {"failed": 1, "ok": 1}
    text = (tmp_path / "out" / "results.json").read_text()
    assert "segmenting: mask decoder: the predicted IoU is not finite" in text
    assert "NaN" not in text and "Infinity" not in text


def test_images_of_one_stamp_keep_their_own_pictures(run_all, samples_of, make_bag, scripted, answer_text, tmp_path):
    """As in a recording of a bag that looped, whose stamps began again."""
    with bags.BagWriter(tmp_path / "bag") as bag:
        for number, grey in enumerate((40, 200, 40)):
            rgb = np.full((48, 64, 3), grey, np.uint8)
            bag.write(IMAGE_TOPIC, bags.image_message(rgb, 10**9, "camera"), (number + 1) * 10**9)
            query = Query("Where?", f"q{number}")
            truth = bags.ground_truth_message(query, np.zeros((48, 64), bool), 10**9, "camera")
            bag.write(GROUND_TRUTH_TOPIC, truth, (number + 1) * 10**9 + 1)
    run_all(tmp_path / "bag", scripted(*[answer_text()] * 3), tmp_path / "out")
    results = Results(tmp_path / "out")
    pictures = [results[f"q{number}"].image for number in range(3)]
    greys = [cv2.imread(str(tmp_path / "out" / picture)).mean() for picture in pictures]
    assert greys == pytest.approx([40, 200, 40], abs=2)
    assert pictures[0] == pictures[2] != pictures[1]


def test_a_kind_that_is_not_stated_is_not_the_kind_unknown(
    run_all, make_bag, samples_of, scripted, answer_text, tmp_path
):
    asked = [samples_of("submarine", None, UNKNOWN_KIND), samples_of("mug", kind="")]
    found = run_all(make_bag(asked), scripted(answer_text(), answer_text(BOX)), tmp_path / "out")
    assert {kind: group["samples"] for kind, group in found["by_kind"].items()} == {UNKNOWN_KIND: 1, NO_KIND: 1}
    assert {"(not stated)", "unknown"} <= set(
        re.findall(r'"kind":\s*"([^"]*)"', (tmp_path / "out/report.html").read_text())
    )

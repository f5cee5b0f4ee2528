"""`reasonseg compare`, on folders of results written as an evaluation writes them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.evaluation.result_lines import ResultLines, write_results
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.run_folder import begin
from reasonseg_ros.evaluation.scoring.metrics import score_sample
from reasonseg_ros.images.run_lengths import rle_from_mask

TARGET = np.zeros((20, 30), bool)
TARGET[5:15, 5:25] = True


def result(number, mask, failure):
    return SampleResult(
        sample_id=f"q{number:03}", question=f"question {number}", kind="function", split="val", is_sentence=False,
        stamp_ns=number, size_wh=(30, 20), image="", status="unparsable" if mask is None else "ok", thought="",
        raw_text="", error="unclear" if mask is None else "", dialect="seg_zero", tokens=1, groundings=[], regions=[],
        mask=None if mask is None else rle_from_mask(mask), seconds={}, target=rle_from_mask(TARGET),
        score=score_sample(mask, TARGET), failure=failure,
    )  # fmt: skip


def columns(count):
    mask = TARGET.copy()
    mask[:, 5 + count :] = False
    return mask


def write(folder, results):
    begin(folder, {}, False, "evaluate")
    with ResultLines(folder / "results.jsonl") as lines:
        for one in results:
            lines.append(one)
    return str(folder)


def compare(capsys, before, after, *options):
    status = cli.main(["compare", before, after, *options])
    printed = capsys.readouterr()
    return status, json.loads(printed.out), printed.err.splitlines()


BEFORE = [result(0, TARGET, "OK"), result(1, columns(10), "T3"), result(2, columns(2), "T2"), result(3, None, "F0")]


def test_a_run_does_not_differ_from_itself(tmp_path, capsys):
    path = write(tmp_path / "run", BEFORE)
    status, found, lines = compare(capsys, path, f"{path}/results.jsonl")  # a run's folder is as good as its file
    assert (status, lines) == (0, [])
    assert (found["samples"], found["compared"], found["failed"]) == (4, 4, 0)
    assert (found["better"], found["worse"], found["changed"], found["failure_moves"]) == (0, 0, [], {})
    assert found["scores"]["giou"]["difference"] == 0
    assert found["scores"]["giou"]["interval_95"] == [0, 0]


def test_what_changed_is_listed_worst_first_with_its_difference(tmp_path, capsys):
    after = [
        result(0, columns(4), "T2"),
        result(1, columns(11), "T3"),  # not enough to be listed
        result(2, TARGET, "OK"),
        result(3, columns(2), "T2"),
    ]
    status, found, _ = compare(capsys, write(tmp_path / "a", BEFORE), write(tmp_path / "b", after))
    assert status == 0
    assert [row["sample_id"] for row in found["changed"]] == ["q000", "q003", "q002"]
    assert found["changed"][0]["iou"] == pytest.approx([1, 0.2], abs=1e-6)
    assert found["changed"][1]["status"] == ["unparsable", "ok"]
    assert (found["better"], found["worse"]) == (3, 1)
    assert found["failure_moves"] == {"OK to T2": 1, "T2 to OK": 1, "F0 to T2": 1}
    giou = found["scores"]["giou"]
    assert giou["before"] == pytest.approx((1 + 0.5 + 0.1) / 4, abs=1e-6)
    assert giou["difference"] == pytest.approx((-0.8 + 0.05 + 0.9 + 0.1) / 4, abs=1e-6)
    low, high = giou["interval_95"]
    assert low < 0 < high  # four samples prove nothing
    options = ("--changed-iou", "0.04")
    changed = compare(capsys, str(tmp_path / "a"), str(tmp_path / "b"), *options)[1]["changed"]
    assert "q001" in {row["sample_id"] for row in changed}


def test_risk_against_coverage_is_that_of_the_samples_with_a_confidence_in_both(tmp_path, capsys):
    confidences = {"before": (0.9, 0.8, 0.3, None), "after": (0.2, 0.8, 0.9, 0.7)}  # the third is a wrong target
    paths = [
        write(tmp_path / name, [replace(one, confidence=value) for one, value in zip(BEFORE, values, strict=True)])
        for name, values in confidences.items()
    ]
    page = tmp_path / "page.html"
    _, found, _ = compare(capsys, *paths, "--report", str(page))
    before, after = found["selective"]["before"], found["selective"]["after"]
    assert (before["questions"], before["auroc"], after["auroc"]) == (3, 1.0, 0.0)
    assert before["risk_coverage_area"] == pytest.approx((0 + 0 + 1 / 3) / 3)
    assert after["risk_coverage_area"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert "Risk against coverage: A dashed, B solid" in page.read_text()
    assert compare(capsys, *[write(tmp_path / f"without{i}", BEFORE) for i in range(2)])[1]["selective"] is None


def test_the_order_of_the_samples_does_not_matter(tmp_path, capsys):
    paths = write(tmp_path / "a", BEFORE), write(tmp_path / "b", BEFORE[::-1])
    assert compare(capsys, *paths)[1]["scores"]["ciou"]["difference"] == 0


def test_samples_that_cannot_be_paired_are_lines_and_counted(tmp_path, capsys):
    after = [BEFORE[0], replace(BEFORE[1], score=None, failure=""), result(9, TARGET, "OK")]
    status, found, lines = compare(capsys, write(tmp_path / "a", BEFORE), write(tmp_path / "b", after))
    assert status == 1
    assert (found["samples"], found["compared"], found["failed"]) == (5, 1, 4)
    assert len(lines) == 4
    assert any("q001: without a score in the second run" in line for line in lines)
    assert any("q009: only in the second run" in line for line in lines)


def test_runs_with_nothing_in_common_and_files_that_are_no_runs(tmp_path, capsys):
    path = write(tmp_path / "a", BEFORE[:1])
    other = write(tmp_path / "b", [result(7, TARGET, "OK")])
    assert cli.main(["compare", path, other]) == cli.USAGE_ERROR
    assert "no sample was scored in both runs" in capsys.readouterr().err
    (tmp_path / "c.jsonl").write_text("[1]\n[1]\n")
    (tmp_path / "old").mkdir()
    write_results(tmp_path / "old" / "results.json", {}, BEFORE)
    for bad in ("c.jsonl", "nowhere", "old", "old/results.json"):
        assert cli.main(["compare", path, str(tmp_path / bad)]) == cli.USAGE_ERROR
        assert bad in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_one_line(tmp_path, capsys):
    path = write(tmp_path / "run", BEFORE)
    (tmp_path / "page").mkdir()
    assert cli.main(["compare", path, path, "--report", str(tmp_path / "page")]) == cli.USAGE_ERROR
    assert "page cannot be written" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["page", "run"], "nothing is left half written"


def test_a_page_without_pictures_says_so(tmp_path, capsys):
    """Results that were copied without the folder of pictures."""
    path, page = write(tmp_path / "run", BEFORE), tmp_path / "page.html"
    assert compare(capsys, path, path, "--report", str(page))[0] == 0
    assert "the picture is gone" in page.read_text() and '["",""]' in page.read_text()


def test_samples_of_another_question_or_ground_truth_are_not_compared(tmp_path, capsys):
    moved = rle_from_mask(np.roll(TARGET, 3, axis=1))
    after = [BEFORE[0], replace(BEFORE[1], question="question of another bag"), replace(BEFORE[2], target=moved)]
    paths = write(tmp_path / "a", BEFORE[:3]), write(tmp_path / "b", after)
    status, found, lines = compare(capsys, *paths)
    assert (status, found["samples"], found["compared"], found["failed"]) == (1, 3, 1, 2)
    assert len(lines) == 2 and "question of another bag" in lines[0] and "its ground truth differs" in lines[1]


def test_runs_of_different_protocols_are_refused(tmp_path, capsys):
    paths = [write(tmp_path / name, BEFORE) for name in "ab"]
    for path, protocol in zip(paths, ("lisa", "seg_zero"), strict=True):
        (tmp_path / path / "settings.json").write_text(json.dumps({"protocol": protocol}))
    assert cli.main(["compare", *paths]) == 2
    assert "scored by different protocols" in capsys.readouterr().err

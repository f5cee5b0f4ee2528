"""`reasonseg evaluate --consistency`, with a method that always points at the same place."""

import json

import pytest

from reasonseg_ros import cli
from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.consistency import CHANGES
from reasonseg_ros.evaluation.consistency_run import run_consistency
from reasonseg_ros.types import Answer, Segmentation, Status


@pytest.fixture
def bag(make_bag, samples_of):
    return make_bag([samples_of(f"{number}", image=number) for number in range(3)])


def evaluate(bag, out, *more):
    return cli.main(["evaluate", str(bag), "--out", str(out), "--ahead", "0", *more])


def test_rates_are_in_the_summary_and_the_report_and_on_the_terminal(bag, method, tmp_path, capsys):
    assert evaluate(bag, tmp_path / "run", "--consistency") == 0
    found = json.loads((tmp_path / "run" / "summary.json").read_text())["consistency"]
    rates = {kind: group["rate"] for kind, group in found["by_kind"].items()}
    assert (rates["darkened"], rates["compressed"], rates["mirrored"]) == (1.0, 1.0, 0.0)
    assert found["questions"] == 3 and found["all"]["judged"] == 3 * len(CHANGES)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Consistency, without labels" in page and "<td>mirrored</td><td>3</td>" in page
    assert "mirrored" in capsys.readouterr().out


def test_without_the_option_nothing_is_asked_twice(bag, method, tmp_path):
    assert evaluate(bag, tmp_path / "run") == 0
    assert "consistency" not in json.loads((tmp_path / "run" / "summary.json").read_text())
    assert not (tmp_path / "run" / "consistency.jsonl").exists()


def test_an_interrupted_run_goes_on_with_the_copies_that_are_missing(bag, method, tmp_path, monkeypatch):
    assert evaluate(bag, tmp_path / "whole", "--consistency") == 0
    asked, answer = [], method.answer

    def interrupted(frame, query, call):
        asked.append(query.query_id)
        if len(asked) == 9:  # three originals, and five copies of the first
            raise KeyboardInterrupt
        return answer(frame, query, call)

    monkeypatch.setattr(method, "answer", interrupted)
    assert evaluate(bag, tmp_path / "run", "--consistency") == cli.INTERRUPTED
    assert evaluate(bag, tmp_path / "run", "--consistency", "--resume") == 0
    assert len(asked) == 9 + 10 and len(set(asked)) == 3 + 15
    read = [json.loads((tmp_path / name / "summary.json").read_text())["consistency"] for name in ("whole", "run")]
    assert read[0] == read[1]


def test_the_copies_can_be_asked_about_after_the_run(bag, method, tmp_path):
    assert evaluate(bag, tmp_path / "run") == 0
    assert evaluate(bag, tmp_path / "run", "--consistency", "--resume") == 0
    assert len((tmp_path / "run" / "consistency.jsonl").read_text().splitlines()) == 15


def test_the_progress_counts_what_the_summary_counts(bag, method, tmp_path, monkeypatch):
    assert evaluate(bag, tmp_path / "run") == 0
    unreadable = Answer(Status.UNPARSABLE, error="no box")
    monkeypatch.setattr(method, "answer", lambda frame, query, call: Segmentation(frame, query, unreadable))
    lines = []
    found = run_consistency(read_bags([bag]), tmp_path / "run", method, lines.append)
    assert (found["all"]["judged"], found["all"]["inconsistent"]) == (15, 15)
    assert lines[-1] == "copies of 3 questions: 0 of 15 answers are consistent"


@pytest.mark.parametrize("more", [["--ray", "local"], ["--method", "rev_seg"]])
def test_what_cannot_be_asked_about_copies_is_refused(bag, method, tmp_path, capsys, more):
    assert evaluate(bag, tmp_path / "run", "--consistency", *more) == cli.USAGE_ERROR
    assert "it asks about single images in this process" in capsys.readouterr().err

"""Every part of an evaluation that may fail does so at its Nth call, or hangs.

Either the sample has a status that says so and the others are answered, or the run ends in one line with an exit
status; in both cases `--resume` completes it to the scores of a run in which nothing failed.

In CI the first calls fail; `REASONSEG_EVERY_CALL=1` has every call fail, up to `MOST_CALLS`.
"""

import json
import os
from contextlib import contextmanager

import pytest

from reasonseg_ros import cli
from reasonseg_ros.config.faults import FAULT_KINDS
from reasonseg_ros.evaluation.result_lines import ResultLines, Results
from reasonseg_ros.injection.fault import Fault, Injector
from reasonseg_ros.injection.files import FILE_PORTS
from reasonseg_ros.injection.ports import installed

BOX, OTHER = (8, 8, 24, 24), (40, 30, 60, 44)
SAMPLES = 4
AHEAD = {"os_error": "4", "runtime_error": "0", "memory_error": "4", "hang": "4"}
MODEL_PORTS = ("encode", "decode", "answer")
MOST_CALLS = 100
EVERY_CALL = os.environ.get("REASONSEG_EVERY_CALL") == "1"
CALLS = range(1, MOST_CALLS + 1) if EVERY_CALL else (1, 2, 3)
HANG_S = 0.02
WORDS = {
    "os_error": "Input/output error",
    "memory_error": "out of memory",
    "runtime_error": "RuntimeError: injected fault",
}


@contextmanager
def broken(port, call, kind, method, out):
    """Have a part of the run, or of the system under it, fail once."""
    named = {"answer": "token", "append": "write"}.get(port, port)
    injector = Injector(Fault(named, call, kind, HANG_S))
    with pytest.MonkeyPatch.context() as patch:
        if port == "answer":
            patch.setattr(method.reasoner, "answer", injector.wrap(named, method.reasoner.answer))
            yield injector
        elif port == "append":
            patch.setattr(ResultLines, "append", injector.wrap(named, ResultLines.append))
            yield injector
        else:
            with installed(injector, out):
                yield injector


@pytest.fixture
def bag(make_bag, samples_of):
    return make_bag([samples_of(f"{number}", image=number) for number in range(SAMPLES)])


@pytest.fixture
def load(scripted, answer_text, monkeypatch, tmp_path):
    """A fresh method of the same answers to the same questions, in whatever order it is asked."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def make():
        method = scripted(answer_text(BOX))
        said = {f"question {number}?": box for number, box in enumerate((BOX, OTHER, BOX, OTHER))}
        answer = method.reasoner.answer

        def answer_to(frame, text, *call):
            method.reasoner._texts = [answer_text(said[text])]
            return answer(frame, text, *call)

        monkeypatch.setattr(method.reasoner, "answer", answer_to)
        monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: method)
        return method

    return make


def scores(out):
    summary = json.loads((out / "summary.json").read_text())
    samples = {name: result.to_json() for name, result in Results(out).items()}
    for sample in samples.values():
        del sample["seconds"]
    return {key: summary[key] for key in ("giou", "ciou", "samples", "failed", "failures", "loss", "statuses")}, samples


@pytest.fixture(scope="module")
def whole_scores():
    """The scores of runs without failures, by their read-ahead. They are the same for every port that may fail."""
    return {}


@pytest.mark.parametrize("kind", FAULT_KINDS)
@pytest.mark.parametrize("port", [*MODEL_PORTS, "append", *FILE_PORTS])
def test_a_port_that_fails_costs_one_sample_or_ends_in_one_line(port, kind, bag, load, tmp_path, capsys, whole_scores):
    ahead = AHEAD[kind]
    if ahead not in whole_scores:
        load()
        assert cli.main(["evaluate", str(bag), "--out", str(tmp_path / "whole"), "--ahead", ahead]) == 0
        whole_scores[ahead] = scores(tmp_path / "whole")
    for call in CALLS if kind != "hang" or EVERY_CALL else (2,):
        out = tmp_path / f"out{call}"
        arguments = ["evaluate", str(bag), "--out", str(out), "--ahead", ahead]
        method = load()
        capsys.readouterr()
        with broken(port, call, kind, method, out) as injector:
            status = cli.main(arguments)
        if not injector.has_struck:
            assert call > 3, "there are fewer calls than those that are to fail"
            break
        captured = capsys.readouterr()
        reported = [line for line in captured.err.splitlines() if line.startswith("reasonseg: ")]
        assert "Traceback" not in captured.err
        if kind == "hang":
            assert status == 0 and not reported, captured.err
        elif port in MODEL_PORTS:
            results = Results(out)
            assert len(results) == SAMPLES and not reported
            again = [result for result in results.values() if result.asked_again]
            # An image that could not be encoded ahead is encoded again with its answer.
            assert [result.error or result.ideal_error for result in again] or (port == "encode" and ahead != "0")
            assert len(again) <= 1 and status == (1 if again else 0)
            expected = "out_of_memory" if kind == "memory_error" else "failed"
            assert all(result.status == expected or result.ideal_error for result in again)
            assert all(result.score is not None for result in results.values())
        else:
            assert status in (cli.USAGE_ERROR, cli.PROGRAM_FAULT) and len(reported) == 1, captured.err
            assert WORDS[kind] in reported[0]
            begun = (out / "results.jsonl").exists() and (out / "results.jsonl").stat().st_size
            assert ("--resume" in reported[0]) == bool(begun)
        load()
        resumed = cli.main([*arguments, "--resume"])
        assert resumed == 0, capsys.readouterr().err
        assert scores(out) == whole_scores[ahead]
        assert not list(out.rglob("*.part"))

"""Every part of an evaluation that may fail does so at its first, second or third call.

Either the sample has a status that says so and the others are answered, or the run ends in one line with an exit
status; in both cases `--resume` completes it to the scores of a run in which nothing failed.
"""

import builtins
import errno
import io
import json
import os
from pathlib import Path

import pytest

from reasonseg_ros import cli
from reasonseg_ros.evaluation.results import ResultLines, Results

BOX, OTHER = (8, 8, 24, 24), (40, 30, 60, 44)
SAMPLES = 4
ERRORS = {
    "disk full": lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "runtime": lambda: RuntimeError("the port\nbroke"),
    "memory": lambda: MemoryError(),
}
AHEAD = {"disk full": "4", "runtime": "0", "memory": "4"}
MODEL_PORTS = ("encode", "decode", "answer")
FILE_PORTS = ("append", "fsync", "write", "replace", "open")


def failing_at(call, error, function, counts=lambda *_, **__: True):
    """`function`, which raises at the `call`-th of the calls that count, once."""
    seen = 0

    def wrapped(*arguments, **named):
        nonlocal seen
        if counts(*arguments, **named):
            seen += 1
            if seen == call:
                raise error()
        return function(*arguments, **named)

    return wrapped


def break_port(port, call, error, method, out, monkeypatch):
    """Have a part of the run, or of the system under it, fail once."""

    def is_writing(path, mode="r", *_, **__):
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        inside = isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(out)
        return inside and any(letter in mode for letter in "wax+")

    if port in ("encode", "decode"):
        monkeypatch.setattr(method.segmenter, port, failing_at(call, error, getattr(method.segmenter, port)))
    elif port == "answer":
        monkeypatch.setattr(method.reasoner, "answer", failing_at(call, error, method.reasoner.answer))
    elif port == "append":
        monkeypatch.setattr(ResultLines, "append", failing_at(call, error, ResultLines.append))
    elif port in ("fsync", "replace"):
        monkeypatch.setattr(os, port, failing_at(call, error, getattr(os, port)))
    elif port == "open":
        opened = failing_at(call, error, io.open, is_writing)
        monkeypatch.setattr(io, "open", opened)
        monkeypatch.setattr(builtins, "open", opened)
    elif port == "write":
        real, seen = io.open, 0

        class Broken:
            """A file on a disk that fills while it is written: half of the data arrive."""

            def __init__(self, file):
                self._file = file

            def write(self, data):
                nonlocal seen
                seen += 1
                if seen == call:
                    self._file.write(data[: len(data) // 2])
                    self._file.flush()
                    raise error()
                return self._file.write(data)

            def __enter__(self):
                self._file.__enter__()
                return self

            def __exit__(self, *arguments):
                return self._file.__exit__(*arguments)

            def __iter__(self):
                return iter(self._file)

            def __getattr__(self, name):
                return getattr(self._file, name)

        def broken_open(path, mode="r", *arguments, **named):
            file = real(path, mode, *arguments, **named)
            return Broken(file) if is_writing(path, mode) else file

        monkeypatch.setattr(io, "open", broken_open)
        monkeypatch.setattr(builtins, "open", broken_open)


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
    samples = {name: result.to_json() for name, result in Results(out / "results.json").items()}
    for sample in samples.values():
        del sample["seconds"]
    return {key: summary[key] for key in ("giou", "ciou", "samples", "failed", "failures", "loss", "statuses")}, samples


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("port", [*MODEL_PORTS, *FILE_PORTS])
def test_a_port_that_fails_costs_one_sample_or_ends_in_one_line(port, kind, bag, load, tmp_path, capsys):
    whole, ahead = tmp_path / "whole", AHEAD[kind]
    load()
    assert cli.main(["evaluate", str(bag), "--out", str(whole), "--ahead", ahead]) == 0
    for call in (1, 2, 3):
        out = tmp_path / f"out{call}"
        arguments = ["evaluate", str(bag), "--out", str(out), "--ahead", ahead]
        method = load()
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            break_port(port, call, ERRORS[kind], method, out, patch)
            status = cli.main(arguments)
        captured = capsys.readouterr()
        told = [line for line in captured.err.splitlines() if line.startswith("reasonseg: ")]
        assert "Traceback" not in captured.err
        if port in MODEL_PORTS:
            results = Results(out / "results.json")
            assert len(results) == SAMPLES and not told
            again = [result for result in results.values() if result.asked_again]
            # An image that could not be encoded ahead is encoded again with its answer.
            assert [result.error or result.ideal_error for result in again] or (port == "encode" and ahead != "0")
            assert len(again) <= 1 and status == (1 if again else 0)
            expected = {"memory": "out_of_memory"}.get(kind, "failed")
            assert all(result.status == expected or result.ideal_error for result in again)
            assert all(result.score is not None for result in results.values())
        else:
            assert status in (cli.USAGE_ERROR, cli.PROGRAM_FAULT) and len(told) == 1, captured.err
            word = {"disk full": "No space left", "memory": "out of memory", "runtime": "RuntimeError: the port broke"}
            assert word[kind] in told[0]
            begun = (out / "results.jsonl").exists() and (out / "results.jsonl").stat().st_size
            assert ("--resume" in told[0]) == bool(begun)
        load()
        resumed = cli.main([*arguments, "--resume"])
        assert resumed == 0, capsys.readouterr().err
        assert scores(out) == scores(whole)
        assert not list(out.rglob("*.part"))

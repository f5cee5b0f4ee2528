"""`kill -9` at calls that write a file: `--resume` ends with the scores of a run that was not killed."""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from killed_run import evaluate, run_until_killed

from reasonseg_ros.evaluation.result_lines import Results
from reasonseg_ros.injection.fault import Injector
from reasonseg_ros.injection.files import FILE_PORTS
from reasonseg_ros.injection.ports import installed
from reasonseg_ros.methods import loading

SAMPLES = 3
EVERY_CALL = os.environ.get("REASONSEG_EVERY_CALL") == "1"
LIMIT_S = 120.0
NEEDED = ("reasonseg_ros.commands.evaluate", "reasonseg_ros.evaluation")


def scores(out):
    summary = json.loads((out / "summary.json").read_text())
    samples = {name: result.to_json() for name, result in Results(out).items()}
    for sample in samples.values():
        del sample["seconds"]
    return {key: summary[key] for key in ("giou", "ciou", "samples", "failed", "statuses")}, samples


@pytest.mark.parametrize("port", FILE_PORTS)
def test_a_killed_run_is_resumed_to_the_same_scores(port, make_bag, samples_of, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(loading, "load_method", None)  # is restored at the end
    bag, whole = make_bag([samples_of(f"{number}", image=number) for number in range(SAMPLES)]), tmp_path / "whole"
    with installed(Injector(), whole) as counter:
        assert evaluate(bag, whole) == 0
    count = counter.calls[port]
    assert count
    server = multiprocessing.get_context("forkserver")  # has no threads, so that its children may be forked
    server.set_forkserver_preload(["killed_run", *(name for name in sys.modules if name.startswith(NEEDED))])
    for call in range(1, count + 1) if EVERY_CALL else sorted({(count + 1) // 2, count}):
        out = tmp_path / f"out{call}"
        child = server.Process(target=run_until_killed, args=(bag, out, port, call))
        child.start()
        child.join(LIMIT_S)
        assert child.exitcode == -signal.SIGKILL, f"call {call} of {count}"
        assert evaluate(bag, out, "--resume") == 0, capfd.readouterr().err
        assert scores(out) == scores(whole)

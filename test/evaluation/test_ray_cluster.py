"""Samples spread over a real Ray cluster on this machine, which listens on the loopback interface only."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from reasonseg_ros.errors import ConfigError
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.ray_cluster import RayCluster
from reasonseg_ros.evaluation.run import collect, evaluate, finish
from reasonseg_ros.evaluation.run_folder import begin
from reasonseg_ros.evaluation.scoring.judging import Scoring

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 12
BOX = (8, 8, 24, 24)
GENEROUS_S = 120

CLUSTER = """
import sys
import ray

context = ray.init(
    num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20, _temp_dir=sys.argv[1], log_to_driver=False
)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""

MODELS = """
import os
import time
from pathlib import Path

from reasonseg_ros.config import Config
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter


class Deadly(ScriptedReasoner):
    def answer(self, frame, text, *call):
        time.sleep(self.pause_s)
        met = Path(self.folder, "met")
        if text == self.deadly and not met.exists():
            met.touch()
            os._exit(1)
        return super().answer(frame, text, *call)


def load(said, deadly, folder, pause_s):
    reasoner = Deadly([said])
    reasoner.deadly, reasoner.folder, reasoner.pause_s = deadly, folder, pause_s
    return SegZero(reasoner, ScriptedSegmenter("box"), Config())
"""

RUN = """
import json
import sys
from functools import partial
from pathlib import Path

import models
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.scoring.judging import Scoring
from reasonseg_ros.evaluation.ray_cluster import RayCluster
from reasonseg_ros.evaluation.run import collect, finish
from reasonseg_ros.evaluation.run_folder import begin

given = json.loads(sys.argv[1])
out = Path(given["out"])
begin(out, given["described"], resume=True)
load = partial(models.load, given["said"], given["deadly"], given["out"], given["pause_s"])
try:
    with RayCluster(given["address"], load, Scoring(), workers=given["workers"]) as cluster:
        run = collect(read_clips(Path(given["bag"])), cluster.answered, out)
except KeyboardInterrupt:
    sys.exit(130)
finish(out, run, given["described"], "")
"""

with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "models.py").write_text(MODELS)
    return {
        **os.environ,
        "HOME": str(tmp_path),  # where Ray keeps the token of the cluster
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # as there, the cluster then stays on the loopback interface
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # on a busy machine the workers would hardly get a turn
    }


@pytest.fixture
def address(environment):
    # The paths of its sockets must be short.
    with (
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder,
        subprocess.Popen(
            [sys.executable, "-c", CLUSTER, folder], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        ) as process,
    ):  # fmt: skip
        yield process.stdout.readline().strip()
        process.stdin.close()  # ends it
        process.wait(GENEROUS_S)


def results(out):
    samples = json.loads((out / "results.json").read_text())["samples"]
    return [{name: value for name, value in sample.items() if name != "seconds"} for sample in samples]


@with_ray
def test_a_cluster_gives_what_one_process_gives_whatever_happens_to_it(
    environment, address, described, make_bag, samples_of, scripted, answer_text, tmp_path
):
    bag = make_bag([samples_of(f"{number}", BOX if number % 3 else None, image=number) for number in range(SAMPLES)])
    out, whole = tmp_path / "out", tmp_path / "whole"
    begin(whole, described, resume=False)
    expected = finish(whole, evaluate(read_clips(bag), scripted(answer_text(BOX)), whole, Scoring()), described, "")

    def start(workers, deadly="", pause_s=0.0):
        given = {"address": address, "bag": str(bag), "out": str(out), "described": described, "pause_s": pause_s}
        given |= {"said": answer_text(BOX), "deadly": deadly, "workers": workers}
        return subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(given)], env=environment, stdout=subprocess.PIPE, text=True
        )

    with start(1, pause_s=0.5) as process:
        lines = out / "results.jsonl"
        end_s = time.monotonic() + GENEROUS_S
        while not lines.exists() or lines.read_bytes().count(b"\n") < 2:
            assert process.poll() is None and time.monotonic() < end_s
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(GENEROUS_S) == 130
    assert 2 <= lines.read_bytes().count(b"\n") < SAMPLES

    with start(2, deadly=f"question {SAMPLES - 1}?") as process:
        reported, _ = process.communicate(timeout=GENEROUS_S)
        assert process.returncode == 0
    # On a busy machine the one before may be blamed, whose result was on its way when the worker died.
    assert re.search(r"a worker died at \d+, try 1 of 3", reported)
    assert results(out) == results(whole)
    found = json.loads((out / "summary.json").read_text())
    assert found["giou"] == expected["giou"] and found["samples"] == SAMPLES


class FakeRay:
    """As much of Ray as is used, in this process. A worker dies of `Death`."""

    class Death(BaseException):
        """No error that a program could catch: its process is gone."""

    class exceptions:
        RayError = type("RayError", (Exception,), {})
        RayTaskError = type("RayTaskError", (RayError,), {})

    def __init__(self):
        self.started, self.killed, self.left = 0, 0, False

    def init(self, **_):
        pass

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, kind):
        def start(*arguments):
            self.started += 1
            worker, dead = kind(*arguments), []

            def method(function):
                def call(*given):
                    try:
                        return [None, function(*given)] if not dead else ["gone", None]
                    except self.Death:
                        dead.append(True)
                        return ["out of memory", None]

                # What is called gives a reference, here a box unlike all others.
                return SimpleNamespace(remote=lambda *given: Reference(call(*given)))

            return SimpleNamespace(ready=method(worker.ready), answer=method(worker.answer))

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=start))

    def get(self, references):
        if isinstance(references, list):
            return [self.get(reference) for reference in references]
        error, value = references.value
        if error:
            raise self.exceptions.RayError(error)
        return value

    def wait(self, references, num_returns, timeout):
        return references[:num_returns], references[num_returns:]

    def kill(self, _):
        self.killed += 1

    def shutdown(self):
        self.left = True


class Reference:
    def __init__(self, value):
        self.value = value


@pytest.fixture
def fake_ray(monkeypatch):
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


def deadly(scripted, text, question):
    """Loads a method that kills its worker at `question`."""

    def load():
        method = scripted(text)
        answer = method.reasoner.answer

        def die_or_answer(frame, asked, *call):
            if asked == question:
                raise FakeRay.Death
            return answer(frame, asked, *call)

        method.reasoner.answer = die_or_answer
        return method

    return load


def test_a_sample_that_kills_its_workers_is_given_up_and_costs_no_other(
    fake_ray, described, make_bag, samples_of, scripted, answer_text, tmp_path
):
    bag = make_bag([samples_of(f"{number}", image=number) for number in range(SAMPLES)])
    reported = []
    begin(tmp_path / "out", described, resume=False)
    load = deadly(scripted, answer_text(BOX), "question 5?")
    with RayCluster("auto", load, Scoring(), report=reported.append) as cluster:
        run = collect(read_clips(bag), cluster.answered, tmp_path / "out")
        assert cluster.workers == 2 and fake_ray.started == 5
    assert run.ids == [f"{number}" for number in range(SAMPLES)]
    assert [row.status for row in run.rows] == ["ok"] * 5 + ["failed"] + ["ok"] * 6
    assert [line.split(":")[0] for line in reported] == [f"a worker died at 5, try {n} of 3" for n in (1, 2, 3)]
    assert fake_ray.killed == 2 and fake_ray.left

    with RayCluster("auto", lambda: scripted(answer_text(BOX)), Scoring(), workers=1) as cluster:
        run = collect(read_clips(bag), cluster.answered, tmp_path / "out")
    assert [row.status for row in run.rows] == ["ok"] * SAMPLES


def test_damaged_samples_pass_by_in_their_order(
    fake_ray, described, make_bag, samples_of, scripted, answer_text, tmp_path
):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)], change=lambda messages: messages[1:])
    begin(tmp_path / "out", described, resume=False)
    with RayCluster("auto", lambda: scripted(answer_text(BOX)), Scoring()) as cluster:
        run = collect(read_clips(bag), cluster.answered, tmp_path / "out")
    assert run.ids == ["b"] and [item.sample_id for item in run.unreadable] == ["a"] and run.samples == 2


def test_a_cluster_that_is_too_small_is_reported(fake_ray):
    with pytest.raises(ConfigError, match="3 workers need a CPU each; the cluster has 2"):
        RayCluster("auto", lambda: None, Scoring(), workers=3).__enter__()
    with pytest.raises(ConfigError, match="1 workers need a GPU each; the cluster has 0"):
        RayCluster("auto", lambda: None, Scoring(), use_gpus=True).__enter__()
    assert fake_ray.left


def test_an_address_where_nothing_listens_is_reported_at_once(fake_ray):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:{1}".format(*free.getsockname())
        with pytest.raises(ConfigError, match=f"{address}.* refused.*ray start --head"):
            RayCluster(address, lambda: None, Scoring()).__enter__()


def test_without_ray_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'reasonseg_ros\[ray\]'"):
        RayCluster("auto", lambda: None, Scoring())

"""The memory that ONNX Runtime keeps between runs of the embedded graphs, measured in a separate process."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from reasonseg_ros.engine import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")

MEASURE = """
import ctypes, re
from pathlib import Path
import numpy as np
from reasonseg_ros.engine import onnxruntime
from reasonseg_ros.engine.manifest import read_manifest

def held_mb():
    ctypes.CDLL(None).malloc_trim(0)
    return int(re.search(r"^RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text(), re.M)[1]) * 1024 / 1e6

def attention():
    folder = Path("models/tabletop/segmenter/onnx")
    graph = read_manifest(folder).graphs["memory_attention"]
    engine = onnxruntime.load_onnxruntime(folder / graph.file, graph, name="attention", threads=1)
    one = {t.name: np.ones([1 if isinstance(s, str) else s for s in t.shape], t.dtype) for t in graph.inputs}
    return lambda: engine.run(one)

def vision():
    from reasonseg_ros.reasoner.onnx.manifest import read_reasoner_manifest
    from reasonseg_ros.reasoner.onnx.vision import VisionModel
    folder = Path("models/tabletop/reasoner")
    model = VisionModel(folder, read_reasoner_manifest(folder), 1)
    side_px = model._shape.patch_px * model._shape.merge
    def run():
        for rows, columns in [(18, 20), (8, 8), (20, 18), (12, 20)]:
            model.features(np.zeros((rows * side_px, columns * side_px, 3), np.uint8))
    return run
"""


def measured(script: str) -> list[float]:
    command = [sys.executable, "-c", MEASURE + script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


@glibc
def test_known_shapes_need_no_more_memory_when_they_come_again() -> None:
    first_mb, later_mb = measured("""
run = attention()
run()
print(held_mb())
for _ in range(3):
    run()
print(held_mb())
""")
    assert later_mb < first_mb + 5


@glibc
@pytest.mark.parametrize("graph", ["attention", "vision"])
def test_the_memory_of_a_run_is_given_back_once_in_a_while(graph: str) -> None:
    loaded_mb, kept_mb, given_back_mb = measured(f"""
run = {graph}()
print(held_mb())
run()
print(held_mb())
onnxruntime.GIVE_BACK_S = 0.0
run()
print(held_mb())
""")
    assert kept_mb > loaded_mb + 15
    assert given_back_mb < loaded_mb + 10


def test_memory_is_given_back_at_most_once_in_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(onnxruntime.time, "monotonic", lambda: now_s)
    pool = onnxruntime._Pool()
    assert pool.run_options() is None
    now_s += onnxruntime.GIVE_BACK_S
    options = pool.run_options()
    assert options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"
    assert pool.run_options() is None

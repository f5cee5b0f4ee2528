"""The rows of the real node, as small as they can be."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # The parser generator below it (lark) imports a deprecated module of the standard library.
    warnings.simplefilter("ignore", DeprecationWarning)
    pytest.importorskip("rosidl_generator_py", reason="run `make setup`")
pytest.importorskip("reasonseg_ros.msg", reason="run `make setup`")

from benchmarks.results import Row
from benchmarks.table.node_rows import memory_rows, overhead_row, questions_and_images, start_rows


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Row]]:
    """Runs a row in a new process: the middleware reads its profile and the ROS domain once a process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda row, *arguments, **named: pool.submit(row, *arguments, **named).result()


def test_the_overhead_of_one_answer(measure: Callable[..., Row], tmp_path: Path) -> None:
    row = measure(overhead_row, tmp_path, 1)
    assert row.details["answers"] == 1
    _, overhead_ms, _ = row.details["overhead_ms_p5_p50_p95"]
    assert 0 < overhead_ms < row.details["pipeline_ms_median"] * 100
    assert row.value == pytest.approx(overhead_ms - row.details["transport_ms"], abs=0.01)
    assert row.unit == "ms" and row.aim == 1.5


def test_the_start(measure: Callable[..., list[Row]], tmp_path: Path) -> None:
    ready, seen = measure(start_rows, tmp_path, 1)
    assert 0.2 < ready.value < seen.value < 60 and (ready.aim, seen.aim) == (1.0, None)


def test_the_growth_of_memory(measure: Callable[..., Row], tmp_path: Path) -> None:
    ready, after, row = measure(memory_rows, tmp_path, frames=150, questions=2, limit_s=120.0, rate_hz=30.0)
    assert 100 < ready.value < after.value < 1000 and (ready.aim, after.aim) == (300.0, 400.0)
    assert row.details["answers"] == 2
    assert row.details["frames"] > 50, "best-effort images may be lost"
    assert all(memory_mb > 100 for _, memory_mb in row.details["frames_and_mb"])


def test_every_question_has_its_image() -> None:
    scenes = questions_and_images((320, 240))
    assert len(scenes) == 9
    assert {(len(image.data), image.step) for _, image in scenes} == {(320 * 240 * 3, 960)}

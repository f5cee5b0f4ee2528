from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results import Row, commit, compared, library_versions, machine, markdown, new_paths, write
from benchmarks.timing import Times

ABOUT = {
    "title": "Rows", "date": "2026-01-02", "command": "make bench", "commit": "abc1234", "seconds": 90,
    "machine": machine(), "versions": library_versions(),
}  # fmt: skip
TIMES = {"ours": Times([0.1, 0.1], [0.2, 0.2]), "other": Times([0.25, 0.25], [0.3, 0.3])}


def test_a_row_tells_how_many_times_as_fast() -> None:
    row = compared("encoding", "engine", "torch", 2.0, TIMES)
    assert row.value == pytest.approx(2.5) and row.cpu_ratio == pytest.approx(1.5)
    assert row.is_met is True
    assert compared("encoding", "engine", "torch", 2.6, TIMES).is_met is False


def test_what_is_better_depends_on_the_unit() -> None:
    assert Row("overhead", "", value=4.0, unit="ms", aim=5.0).is_met is True
    assert Row("overhead", "", value=6.0, unit="ms", aim=5.0).is_met is False
    assert Row("bandwidth", "", value=61.0, unit="% of the bound", aim=60.0).is_met is True
    assert Row("memory", "", value=61.0, unit="MiB").is_met is None


def test_the_table_keeps_rows_that_were_missed_or_not_measured() -> None:
    rows = [
        compared("encoding", "engine", "torch", 9.0, TIMES, note="torch is quick"),
        Row("encoding on a GPU", "engine", note="no GPU"),
    ]
    lines = markdown(rows, ABOUT).splitlines()
    assert "| encoding | torch: 250 ± 0 ms | engine: 100 ± 0 ms | **2.5 x** (1.5 x) | ≥ 9 x | **missed** |" in lines
    assert "| encoding on a GPU |  | engine | not measured |  |  |" in lines
    assert "- **encoding**: torch is quick" in lines and "- **encoding on a GPU**: no GPU" in lines


def test_results_of_one_day_do_not_replace_each_other(tmp_path: Path) -> None:
    rows = [compared("encoding", "engine", "torch", 2.0, TIMES)]
    first = new_paths(tmp_path, "NVIDIA H200")
    write(rows, ABOUT, first)
    first[0].unlink()  # only tables are kept
    second = new_paths(tmp_path, "NVIDIA H200")
    write(rows, ABOUT, second)
    assert first[0].name.endswith("-nvidia-h200.json") and second[1].name.endswith("-nvidia-h200-2.md")
    found = json.loads(second[0].read_text(encoding="utf-8"))
    assert found["rows"][0]["is_met"] is True and found["rows"][0]["details"]["ours"]["median_ms"] == 100.0
    assert found["commit"] == "abc1234" and found["machine"]["cores"] >= 1 and "torch" in found["versions"]


def test_the_commit_is_that_of_the_checkout() -> None:
    assert commit().rstrip("+").isalnum()

"""What ends a group of rows, and what is kept of it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.results import Row
from benchmarks.table.apart import apart, attempted
from benchmarks.table.groups import QUICK, group_rows

# A separate module, because the other process has to find it.
MADE_UP = """
import os, signal, time
from benchmarks.results import Row

def rows_until(ending):
    yield Row("first", "here", value=1.0, details={"process": os.getpid()})
    if ending == "error":
        raise ValueError("no checkpoint")
    if ending == "abort":
        os.kill(os.getpid(), signal.SIGKILL)
    if ending == "silence":
        time.sleep(600)
    yield Row("second", "here", value=2.0)
"""
Rows = Callable[[str], Iterator[Row]]


@pytest.fixture
def rows_until(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    (tmp_path / "made_up_rows.py").write_text(MADE_UP, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found: Rows = importlib.import_module("made_up_rows").rows_until
    return found


def test_an_error_becomes_a_row(rows_until: Rows) -> None:
    first, second = attempted("models", lambda: rows_until("error"))
    assert first.value == 1.0
    assert second.value is None and second.note == "ValueError: no checkpoint"


@pytest.mark.parametrize(
    ("ending", "last"),
    [("end", ""), ("error", "ValueError: no checkpoint"), ("abort", "its process ended with SIGKILL")],
)
def test_a_group_in_a_separate_process_ends_alone(rows_until: Rows, ending: str, last: str) -> None:
    first, second = apart("models", rows_until, ending)
    assert first.name == "first" and first.details["process"] != os.getpid()
    assert second.note == last and (second.value is None) == bool(last)


def test_a_missing_group_is_reported_by_the_process_that_makes_the_groups() -> None:
    """`python -m benchmarks` hands over this function, which another process does not find in `__main__`."""
    assert group_rows.__module__ == "benchmarks.table.groups"
    (row,) = apart("models", group_rows, "stand-in", "models", QUICK)
    assert row.note == "KeyError: 'models'"


def test_a_group_that_hangs_is_ended(rows_until: Rows) -> None:
    first, second = apart("models", rows_until, "silence", silence_s=0.5)
    assert first.value == 1.0 and second.note.startswith("no row came for")
    with pytest.raises(ProcessLookupError):
        os.kill(first.details["process"], 0)

from __future__ import annotations

import time

import pytest

from benchmarks import timing
from benchmarks.timing import Times, mean_of, side_by_side


class Clock:
    """Time that passes only on demand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now_s)
        monkeypatch.setattr(timing, "cpu_seconds", lambda: 3 * self.now_s)


def test_ways_take_turns_and_only_they_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Clock(monkeypatch), []

    def way(name: str, seconds: float) -> str:
        calls.append(name)
        clock.now_s += seconds
        return name.upper()

    times, results = side_by_side(
        {"a": lambda: way("a", 1.0), "b": lambda: way("b", 2.0)}, 2, before={"b": lambda: way("before b", 10.0)}
    )
    # The warm-up comes first, and who begins changes.
    assert calls == ["before b", "b", "a", "a", "before b", "b", "before b", "b", "a"]
    assert times["a"].wall_s == [1.0, 1.0] and times["b"].wall_s == [2.0, 2.0]
    assert times["b"].cpu_s == [6.0, 6.0]
    assert results == {"a": "A", "b": "B"}


def test_the_spread_is_the_median_distance_from_the_median() -> None:
    times = Times([1.0, 2.0, 9.0, 3.0, 2.5], [1.0] * 5)
    assert (times.median_s, times.spread_s, times.median_cpu_s) == (2.5, 0.5, 1.0)


def test_several_inputs_are_averaged_for_each_repetition() -> None:
    found = mean_of([{"a": Times([1.0, 3.0], [0.0, 2.0])}, {"a": Times([3.0, 5.0], [4.0, 4.0])}])
    assert found["a"].wall_s == [2.0, 4.0] and found["a"].cpu_s == [2.0, 3.0]


def test_cpu_time_counts_work_and_not_waiting() -> None:
    start_s = timing.cpu_seconds()
    time.sleep(0.2)
    assert timing.cpu_seconds() - start_s < 0.19
    start_s = timing.cpu_seconds()
    sum(range(2_000_000))
    assert timing.cpu_seconds() > start_s

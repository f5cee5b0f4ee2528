"""One measured curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Curve:
    """One or several measured values over a quantity that was varied.

    Attributes:
        against: name and unit of the horizontal axis.
        points: x, then the value of each series.
        series: name and unit of each series.
        logarithmic: both axes.
    """

    name: str
    against: str
    series: tuple[str, ...]
    points: tuple[tuple[float, ...], ...]
    note: str = ""
    logarithmic: bool = False


def median_ms(work: Callable[[], object], repetitions: int) -> float:
    """Median time of some runs after a warm-up run, ms."""
    work()
    times_s = []
    for _ in range(repetitions):
        start_s = perf_counter()
        work()
        times_s.append(perf_counter() - start_s)
    return 1e3 * median(times_s)

"""Times of several ways to do the same, measured alternately, so that other load on the machine affects all of them.

pyperf and torch.utils.benchmark measure one way after the other, and do not measure CPU time.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any


@dataclass
class Times:
    """Seconds of each run: wall time, and CPU time of this process and of the child processes it waited for."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        return median(self.wall_s)

    @property
    def spread_s(self) -> float:
        """Median absolute deviation from the median."""
        return median(abs(value - self.median_s) for value in self.wall_s)

    @property
    def median_cpu_s(self) -> float:
        return median(self.cpu_s)


def side_by_side(
    ways: Mapping[str, Callable[[], Any]],
    repetitions: int,
    *,
    warm_up: int = 1,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> tuple[dict[str, Times], dict[str, Any]]:
    """Times by name, and the last result of each way. The order changes with each repetition.

    `before` runs ahead of each way and is not counted. On a GPU each way has to synchronise itself.
    """
    times: dict[str, Times] = {name: Times() for name in ways}
    results: dict[str, Any] = {}
    names = list(ways)
    for repetition in range(-warm_up, repetitions):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            if before and name in before:
                before[name]()
            start_s, start_cpu_s = time.perf_counter(), cpu_seconds()
            results[name] = ways[name]()
            wall_s, cpu_s = time.perf_counter() - start_s, cpu_seconds() - start_cpu_s
            if repetition >= 0:
                times[name].wall_s.append(wall_s)
                times[name].cpu_s.append(cpu_s)
    return times, results


def mean_of(items: Sequence[Mapping[str, Times]]) -> dict[str, Times]:
    """Times of several inputs with the same repetitions: the mean over the inputs for each repetition."""
    return {
        name: Times(
            [mean(values) for values in zip(*(item[name].wall_s for item in items), strict=True)],
            [mean(values) for values in zip(*(item[name].cpu_s for item in items), strict=True)],
        )
        for name in items[0]
    }


def cpu_seconds() -> float:
    """User and system time of this process with all its threads, and of the child processes it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)

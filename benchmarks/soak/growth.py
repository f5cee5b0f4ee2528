"""Whether a process grows: a robust slope of the memory it holds at rest, with what is known of that slope.

Single samples of a node differ by 100 MB: by the images it keeps for late answers, by what a question needs while it is
answered, by pages of libraries that the system drops and loads at will. So samples are taken at rest, without the
kept images and without file pages; of these the Theil-Sen slope is reported with its 95 % interval. Memory starts anew
each time that the models are loaded, so it is the common slope of the periods between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import theilslopes

WARM_UP_S = 100.0
"""After each time that the models were loaded: caches fill, and the allocators' pools grow to what the work needs."""
MOST_GROWTH_MB = 1.0
LEAST_LEAK_MB = 20.0
"""In 1,000 images. Memory grows if the whole interval lies above the first, and is flat if it lies below the second:
one mask of 1280 x 720 left behind in fifty images would be 18 MB, one such image 55 MB."""
MOST_FURTHER = 4
"""Threads, and open files, more at the end than after the warm-up; ROS opens some as clients come."""


@dataclass(frozen=True)
class Growth:
    """MB in 1,000 images: the slope and its 95 % interval."""

    slope: float
    low: float
    high: float

    def faults(self) -> list[str]:
        slope = f"{self.slope:.1f} MB in 1,000 images, {self.low:.1f} to {self.high:.1f} with 95 % confidence"
        if self.low > MOST_GROWTH_MB:
            return [f"memory grows by {slope}"]
        return [f"memory is not shown to be flat, run longer: {slope}"] if not self.high < LEAST_LEAK_MB else []


def after_warm_up(samples: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    return [sample for sample in samples if sample["loaded_for_s"] >= WARM_UP_S]


def growth(samples: Sequence[dict[str, float]]) -> Growth:
    """Of `memory_mb` without `kept_mb` over `images`, between two of `loads`; unknown of fewer than three samples."""
    images: list[float] = []
    held_mb: list[float] = []
    for load in {sample["loads"] for sample in samples}:
        some = [sample for sample in samples if sample["loads"] == load]
        images += _centred([sample["images"] for sample in some])
        held_mb += _centred([sample["memory_mb"] - sample["kept_mb"] for sample in some])
    if len(samples) < 3 or not any(images):
        return Growth(0.0, float("-inf"), float("inf"))
    found = theilslopes(held_mb, images, 0.95)
    return Growth(*(1000 * float(value) for value in (found.slope, found.low_slope, found.high_slope)))


def _centred(values: Sequence[float]) -> list[float]:
    return [value - sum(values) / len(values) for value in values]


def usage(pid: int) -> dict[str, float]:
    """Of a process: resident memory without file pages in MB, threads and open files."""
    process = Path(f"/proc/{pid}")
    status = (process / "status").read_text()
    kib = sum(int(found) for found in re.findall(r"^Rss(?:Anon|Shmem):\s*(\d+)", status, re.MULTILINE))
    return {
        "memory_mb": round(kib * 1024 / 1e6, 1),
        "threads": len(list((process / "task").iterdir())),
        "files": len(list((process / "fd").iterdir())),
    }


def count_grows(counts: Sequence[int]) -> bool:
    """Of counts at the start, after the warm-up and at the end."""
    return counts[2] > counts[1] + MOST_FURTHER

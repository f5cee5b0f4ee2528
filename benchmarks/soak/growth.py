"""Whether a process grows: a robust slope of its memory at rest, with its confidence interval.

Single samples of a node differ by 100 MB. The causes are images kept for late answers, the working memory of a
question, and library pages that the system drops and loads again. Samples are therefore taken at rest, without kept
images and file pages. The result is their Theil-Sen slope with its 95 % interval. Memory starts at a new level each
time the models are loaded, so the slope is common to the periods between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import theilslopes

WARM_UP_S = 100.0
"""Time after loading the models in which caches fill and the allocators' pools reach their size."""
MOST_GROWTH_MB = 1.0
LEAST_LEAK_MB = 20.0
"""Per 1,000 images. Memory grows if the whole interval is above the first value, and is flat if it is below the second.
A leak of one mask of 1280 x 720 every fifty images would be 18 MB, of one such image 55 MB."""
MOST_FURTHER = 4
"""Allowed increase of threads and of open files after the warm-up. ROS opens some for new clients."""


@dataclass(frozen=True)
class Growth:
    """MB per 1,000 images: the slope and its 95 % interval."""

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
    """Slope of `memory_mb` minus `kept_mb` over `images`, within each of `loads`; unknown for under three samples."""
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
    """Resident memory without file pages in MB, threads and open files of a process."""
    process = Path(f"/proc/{pid}")
    status = (process / "status").read_text()
    kib = sum(int(found) for found in re.findall(r"^Rss(?:Anon|Shmem):\s*(\d+)", status, re.MULTILINE))
    return {
        "memory_mb": round(kib * 1024 / 1e6, 1),
        "threads": len(list((process / "task").iterdir())),
        "files": len(list((process / "fd").iterdir())),
    }


def count_grows(counts: Sequence[int]) -> bool:
    """Faults of the counts at the start, after the warm-up and at the end."""
    return counts[2] > counts[1] + MOST_FURTHER

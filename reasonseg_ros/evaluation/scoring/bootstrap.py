"""Ratios of sums over samples, with bootstrap intervals.

Every score of an evaluation is the ratio of two sums over the samples. A mean divides by the number of samples, cIoU
divides the intersections by the unions, and a share of the no-target questions divides by their number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Sums = NDArray[np.float64]

RESAMPLES = 1000
SEED = 20240917
_DRAWN_AT_ONCE = 50_000
"""Limits the memory of one step, so that it fits the CPU's cache."""


def resampled_sums(columns: Sums, resamples: int = RESAMPLES, seed: int = SEED) -> Sums:
    """Column sums of [N, C] over bootstrap resamples, drawn with replacement. float64 [resamples, C].

    The same seed and N draw the same samples, so the sums of several calls are paired.
    """
    rng, count = np.random.default_rng(seed), len(columns)
    if not count:
        return np.zeros((resamples, columns.shape[1]))
    sums, most = [], max(1, _DRAWN_AT_ONCE // count)
    for first in range(0, resamples, most):
        rows = min(most, resamples - first)
        drawn = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        sums.append(counts.astype(np.float64) @ columns)
    return np.concatenate(sums)


def ratios(numerators: Sums, denominators: Sums) -> Sums:
    """Numerators over denominators, NaN if there is nothing to divide by."""
    return np.divide(numerators, denominators, out=np.full_like(numerators, np.nan), where=denominators > 0)


def intervals(values: Sums, share: float = 0.95) -> Iterator[tuple[float, float] | None]:
    """Percentile interval of each column of [resamples, C]; None if no resample has a value."""
    tail = 50 * (1 - share)
    for column in values.T:
        known = column[np.isfinite(column)]
        yield tuple(np.percentile(known, [tail, 100 - tail]).tolist()) if known.size else None

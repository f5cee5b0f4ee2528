"""Bootstrap intervals against scipy's and against theory."""

import numpy as np
import pytest
from scipy import stats

from reasonseg_ros.evaluation.scoring.bootstrap import intervals, ratios, resampled_sums


def test_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(0).beta(2, 1, 300)
    sums = resampled_sums(np.stack([values, np.ones(300)], axis=1), resamples=4000)
    low, high = next(intervals(ratios(sums[:, :1], sums[:, 1:])))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile").confidence_interval
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.004)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(300), rel=0.08)


def test_interval_of_a_ratio_of_sums_is_scipys():
    rng = np.random.default_rng(1)
    unions = rng.integers(1, 5000, 200).astype(float)
    table = np.stack([unions * rng.beta(3, 1, 200), unions], axis=1)
    sums = resampled_sums(table, resamples=4000)
    interval = next(intervals(ratios(sums[:, :1], sums[:, 1:])))
    theirs = stats.bootstrap(
        tuple(table.T), lambda i, u, axis: i.sum(axis) / u.sum(axis), paired=True, vectorized=True,
        n_resamples=4000, method="percentile",
    ).confidence_interval  # fmt: skip
    assert interval == pytest.approx(tuple(theirs), abs=0.006)


def test_the_same_seed_draws_the_same_samples_whatever_the_values():
    table = np.random.default_rng(2).normal(size=(50, 2))
    assert (resampled_sums(table) == resampled_sums(table)).all()
    assert np.allclose(resampled_sums(table + 1), resampled_sums(table) + 50)
    assert not np.allclose(resampled_sums(table), resampled_sums(table, seed=1))


def test_resamples_without_a_denominator_are_left_out():
    sums = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]])
    values = ratios(sums[:, :1], sums[:, 1:])
    assert np.isnan(values[1, 0])
    assert next(intervals(values)) == pytest.approx((0.5 + 0.25 * 0.025, 0.75 - 0.25 * 0.025))
    assert next(intervals(ratios(np.zeros((3, 1)), np.zeros((3, 1))))) is None

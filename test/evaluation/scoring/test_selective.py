"""Risk, coverage and calibration: against scikit-learn, and in cases worked by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from reasonseg_ros.evaluation.scoring.selective import (
    auroc,
    calibration_bins,
    calibration_error,
    risk_curve,
    selective_summary,
)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_scikit_learn_s(seed):
    rng = np.random.default_rng(seed)
    confidences, right = rng.integers(0, 12, 200) / 12, rng.random(200) < 0.7  # with ties
    assert auroc(confidences, right) == pytest.approx(roc_auc_score(right, confidences))


def test_auroc_needs_both_kinds():
    assert auroc([0.1, 0.9], [True, True]) is None
    assert auroc([], []) is None


def test_risk_is_the_share_of_wrong_answers_among_the_most_confident():
    # In the order of confidence: right, wrong, right, wrong.
    curve = risk_curve([0.2, 0.9, 0.6, 0.8], [False, True, True, False])
    np.testing.assert_allclose(curve, [0, 1 / 2, 1 / 3, 2 / 4])


def test_answers_of_equal_confidence_come_in_no_order():
    for right in ([True, False, False], [False, True, False], [False, False, True]):
        np.testing.assert_allclose(risk_curve([0.5] * 3, right), [2 / 3] * 3)


def test_the_calibration_error_of_two_bins():
    # 0.9 twice, one right: |0.9 - 0.5| = 0.4. 0.1 once, wrong: 0.1. Weighted: (2 x 0.4 + 0.1) / 3.
    confidences, right = [0.9, 0.9, 0.1], [True, False, False]
    assert calibration_error(confidences, right) == pytest.approx(0.3)
    assert calibration_bins(confidences, right) == [
        {"count": 1, "confidence": pytest.approx(0.1), "right": 0.0},
        {"count": 2, "confidence": pytest.approx(0.9), "right": 0.5},
    ]


def test_a_confidence_of_one_lies_in_the_last_bin():
    assert [one["count"] for one in calibration_bins([1.0, 0.95, 0.0], [True] * 3)] == [1, 2]


def test_the_summary_of_ten_answers():
    confidences = [n / 10 for n in range(10)]
    right = [n >= 2 for n in range(10)]  # the two least confident are wrong
    found = selective_summary(confidences, right)
    assert (found["questions"], found["auroc"]) == (10, 1.0)
    assert found["risk_at_coverage"] == pytest.approx({"1": 0.2, "0.9": 1 / 9, "0.8": 0.0, "0.7": 0.0, "0.5": 0.0})
    assert found["risk_coverage_area"] == pytest.approx((1 / 9 + 0.2) / 10)
    assert found["risk_curve"][-1] == [1.0, pytest.approx(0.2)]


def test_without_answers_there_is_nothing_to_say():
    assert selective_summary([], []) == {"questions": 0}

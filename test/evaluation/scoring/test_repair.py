"""Attribution of the loss, the gain of repairing a type, and sweeps over thresholds."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.failures import FailureType, Measurement, Thresholds
from reasonseg_ros.evaluation.scoring.repair import SWEPT, LossShares, loss_shares, repair_gains, sweep, sweeps

LOCATED = Measurement(
    parsed=True, target_empty=False, prediction_empty=False, grounded=True, iou=0.7, boundary_iou=0.6, boundary_f=0.9,
    box_iou=0.8, points_on_target=1.0, precision=0.85, recall=0.8, inside_box=0.9, fragments=1,
)  # fmt: skip
WELL, MISREAD, POOR = FailureType.OK, FailureType.MISREAD, FailureType.POOR_QUALITY


@pytest.mark.parametrize(
    ("iou", "ideal", "reasoner", "segmenter", "limited"),
    [
        (0.1, 0.9, 0.8, 0.1, False),  # misread
        (0.5, 0.5, 0.0, 0.5, True),  # the segmenter can do no better
        (0.8, 0.6, 0.0, 0.2, False),  # better than with the true box
        (0.0, 1.0, 1.0, 0.0, False),
    ],
)
def test_a_loss_is_split(iou, ideal, reasoner, segmenter, limited):
    shares = LossShares(iou, ideal)
    assert (shares.reasoner, shares.segmenter) == pytest.approx((reasoner, segmenter))
    assert shares.segmenter_limited is limited
    assert shares.reasoner + shares.segmenter == pytest.approx(1 - iou)


def test_losses_are_averaged_over_the_samples_whose_ideal_is_known():
    shares = loss_shares([0.1, 0.5, 0.8, 0.3], [0.9, 0.5, 0.8, None])
    assert shares == pytest.approx(
        {"samples": 3, "loss": 1.6 / 3, "reasoner": 0.8 / 3, "segmenter": 0.8 / 3, "segmenter_limited": 1}
    )
    assert loss_shares([0.3], [None]) == {
        "samples": 0, "loss": None, "reasoner": None, "segmenter": None, "segmenter_limited": 0
    }  # fmt: skip


def test_gains_add_up_to_the_whole_loss():
    types = [WELL, MISREAD, MISREAD, POOR]
    gains = repair_gains(types, [0.9, 0.1, 0.3, 0.6], [0.95, 0.8, 0.2, None])
    assert gains[MISREAD] == pytest.approx(
        {"samples": 2, "share": 0.5, "mean_iou": 0.2, "gain": 1.6 / 4, "gain_from_reasoner": 0.7 / 4}
    )
    assert gains[POOR]["gain_from_reasoner"] is None
    assert sum(gain["gain"] for gain in gains.values()) == pytest.approx(1 - np.mean([0.9, 0.1, 0.3, 0.6]))
    assert sum(gain["samples"] for gain in gains.values()) == 4
    assert set(gains) == set(types)
    assert repair_gains([], []) == {}
    with pytest.raises(InvalidInput, match="4 failures, 1 IoUs"):
        repair_gains(types, [0.5])


def test_a_sweep_counts_every_sample_at_every_value():
    measurements = [replace(LOCATED, iou=iou, precision=iou) for iou in (0.2, 0.55, 0.65, 0.8)]
    rows = sweep(measurements, "ok_iou", [0.5, 0.7, 0.9])
    assert [row["types"]["OK"] for row in rows] == [3, 1, 0]
    assert all(sum(row["types"].values()) == len(measurements) for row in rows)
    assert rows[1]["types"]["T2"] == 1 and rows[1]["types"]["T3"] == 2
    assert rows[1]["tags"]["leakage"] == 2


def test_only_thresholds_of_the_rules_are_swept():
    for name in set(asdict(Thresholds())) - {"fragment_share"}:
        assert sweep([LOCATED], name, [0.3])[0]["value"] == 0.3
    for name in ("fragment_share", "luck"):
        with pytest.raises(InvalidInput, match=f"{name}.*ok_iou"):
            sweep([LOCATED], name, [0.3])


def test_every_threshold_is_swept_with_its_own_value_among_the_others():
    assert set(SWEPT) == set(asdict(Thresholds())) - {"fragment_share"}
    for name, values in SWEPT.items():
        assert getattr(Thresholds(), name) in values and list(values) == sorted(values)
    found = sweeps([LOCATED])
    assert [row["value"] for row in found["wrong_iou"]] == list(SWEPT["wrong_iou"])
    assert [row["types"]["T2"] for row in found["wrong_precision_and_recall"]] == [0] * 7
    assert sweeps([]) == {}

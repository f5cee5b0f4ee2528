"""J, F and J&F against their definition."""

import json
from itertools import product

import cv2
import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.boundaries import boundary_f
from reasonseg_ros.evaluation.scoring.failures import measure
from reasonseg_ros.evaluation.scoring.video_metrics import FrameScore, frame_score, score_frame, summarise_videos

SQUARE = np.zeros((50, 60), bool)
SQUARE[10:30, 10:30] = True
MOVED = np.roll(SQUARE, 10, axis=1)
EMPTY = np.zeros_like(SQUARE)


def test_j_is_iou_and_f_the_boundary_measure():
    score = score_frame(MOVED, SQUARE)
    assert score.j == pytest.approx(200 / 600)
    assert score.f == boundary_f(MOVED, SQUARE)
    assert 0 < score.f < 1


def test_two_empty_masks_agree_and_one_does_not():
    assert score_frame(EMPTY, EMPTY) == FrameScore(1.0, 1.0)
    assert score_frame(SQUARE, EMPTY) == score_frame(EMPTY, SQUARE) == FrameScore(0.0, 0.0)


@pytest.mark.parametrize("target", [SQUARE, EMPTY], ids=["target", "no target"])
def test_a_missing_prediction_counts_0(target):
    assert score_frame(None, target) == FrameScore(0.0, 0.0)


def test_ignored_pixels_and_sizes():
    assert score_frame(MOVED, SQUARE, np.ones_like(SQUARE)).j == 1.0
    with pytest.raises(InvalidInput, match="60 x 50"):
        score_frame(SQUARE[:-1], SQUARE)


def test_frames_are_averaged_first_and_then_expressions():
    long = [FrameScore(1.0, 0.5)] * 3 + [FrameScore(0.0, 0.0)]
    short = [FrameScore(0.25, 0.75)]
    summary = summarise_videos({"the cup that fell": long, "what rolled": short})
    assert summary["by_expression"]["the cup that fell"] == {"j": 0.75, "f": 0.375, "j_and_f": 0.5625}
    assert (summary["j"], summary["f"], summary["j_and_f"]) == (0.5, 0.5625, 0.53125)
    assert summary["expressions"] == 2
    for key, (low, high) in summary["intervals_95"].items():
        values = [each[key] for each in summary["by_expression"].values()]
        assert min(values) == low <= summary[key] <= high == max(values)
    json.dumps(summary, allow_nan=False)


def test_no_expression_has_no_score_and_no_frame_is_refused():
    nothing = summarise_videos({})
    assert nothing["j_and_f"] is None and nothing["intervals_95"]["j"] is None and nothing["by_expression"] == {}
    with pytest.raises(InvalidInput, match="what rolled"):
        summarise_videos({"what rolled": []})


def test_a_sample_that_is_scored_already_has_the_same_j_and_f():
    rng = np.random.default_rng(3)
    full, none = np.ones((30, 40), bool), np.zeros((30, 40), bool)
    blobs = [cv2.GaussianBlur(rng.random((30, 40)), (0, 0), 3) > 0.5 for _ in range(6)]
    masks, ignores = [*blobs[:4], full, none], [None, blobs[4], blobs[5], full]
    for prediction, target, ignore in product([*masks, None], masks, ignores):
        expected = score_frame(prediction, target, ignore)
        found = frame_score(measure(prediction, target, ignore))
        assert (found.j, found.f) == (expected.j, expected.f)

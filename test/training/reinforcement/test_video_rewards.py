"""ReVSeg's reward in cases that were computed by hand."""

import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.reinforcement.video_rewards import VideoTruth, rev_seg_parts

# Areas 100, hidden, 400, 200.
TRUTH = VideoTruth(((0, 0, 9, 9), None, (0, 0, 19, 19), (0, 0, 19, 9)))


def first(frame):
    return f'<think>a</think><answer>[{{"frame_idx": {frame}, "object description": "the cup"}}]</answer>'


def second(*box):
    return f'<think>a</think><answer>[{{"bbox_2d": {list(box)}, "point_2d": [1, 1]}}]</answer>'


@pytest.mark.parametrize(
    ("texts", "visible", "soft"),
    [
        ((first(3), second(0, 0, 19, 19)), (1, 1, 1), (1, 1, 1)),
        ((first(4), second(0, 0, 19, 9)), (1, 1, 1), (1, 1 / 3, 1)),
        ((first(1), second(0, 0, 9, 9)), (1, 1, 1), (1, 0, 1)),
        ((first(2), second(0, 0, 9, 9)), (1, 0, 0), (1, 0, 0)),  # hidden there
        ((first(9), second(0, 0, 9, 9)), (1, 0, 0), (1, 0, 0)),  # no such frame
        ((first(3), second(0, 0, 19, 9)), (1, 1, 0), (1, 1, 0)),  # IoU exactly 0.5
        ((first(3), second(0, 0, 19, 10)), (1, 1, 1), (1, 1, 1)),  # 0.55
        ((first(3), "<think>a</think><answer>[]</answer>"), (0, 1, 0), (0, 1, 0)),
        ((first(3), "[]"), (0, 1, 0), (0, 1, 0)),
        (("", second(0, 0, 19, 19)), (0, 0, 0), (0, 0, 0)),  # without round 1, round 2 earns nothing
        ((first(3).replace("<think>a</think>", ""), second(0, 0, 19, 19)), (0, 1, 1), (0, 1, 1)),
        ((first('"3"'), second(0, 0, 19, 19)), (0, 1, 1), (0, 1, 1)),  # readable, though not well-formed
    ],
)
def test_parts(texts, visible, soft):
    assert tuple(rev_seg_parts(*texts, TRUTH, temporal="visible").values()) == pytest.approx(visible)
    assert tuple(rev_seg_parts(*texts, TRUTH).values()) == pytest.approx(soft)


def test_frames_of_equal_areas_are_equally_good():
    truth = VideoTruth(((0, 0, 9, 9), (5, 5, 14, 14)))
    assert rev_seg_parts(first(2), second(5, 5, 14, 14), truth)["temporal"] == 1


def test_other_sizes():
    truth = VideoTruth(((0, 0, 400, 400),), (420, 420))
    assert rev_seg_parts(first(1), second(0, 0, 200, 200), truth)["spatial"] == 1


def test_what_cannot_be_rewarded_is_refused():
    with pytest.raises(InvalidInput, match="no frame"):
        VideoTruth((None, None))
    with pytest.raises(InvalidInput, match="expected one of visible, soft"):
        rev_seg_parts("", "", TRUTH, temporal="hard")

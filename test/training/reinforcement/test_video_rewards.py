"""ReVSeg's reward in tables of cases that were computed by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.reinforcement.video_rewards import (
    VIDEO_REWARDS,
    VideoTruth,
    chosen_frame,
    video_reward_parts,
)

# 10 x 10, 20 x 10, 30 x 10 pixels, not visible.
SMALL, MIDDLE, LARGE = (0, 0, 9, 9), (0, 0, 19, 9), (0, 0, 29, 9)
TRUTH = VideoTruth((SMALL, MIDDLE, LARGE, None))
NOTHING = VideoTruth((None, None))


def first(number, description="the red mug"):
    return answer([{"frame_idx": number, "object description": description}])


def second(*boxes):
    return answer([{"bbox_2d": list(box), "point_2d": [1, 1]} for box in boxes])


def answer(items):
    return f"<think>it was pushed.</think><answer>{json.dumps(items)}</answer>"


@pytest.mark.parametrize(
    ("texts", "form", "area", "spatial"),
    [
        ((first(3), second(LARGE)), 1, 1, 1),
        ((first(2), second(MIDDLE)), 1, 0.5, 1),  # (200 - 100) / (300 - 100)
        ((first(1), second(SMALL)), 1, 0, 1),
        ((first(1), second((0, 0, 9, 4))), 1, 0, 0),  # IoU exactly 0.5
        ((first(1), second((0, 0, 9, 5))), 1, 0, 1),  # IoU 0.6
        ((first(3), second(SMALL)), 1, 1, 0),  # IoU 1/3
        ((first(4), second(LARGE)), 1, 0, 0),  # the target is not visible there
        ((first(3), ""), 0.5, 1, 0),
        ((first(3), second()), 0.5, 1, 0),
        ((first(3), second(LARGE, SMALL)), 0.5, 1, 0),  # one box is asked for
        ((first(3), second(LARGE[:3])), 0.5, 1, 0),
        ((first(3), second(LARGE).replace("<think>", "")), 0.5, 1, 0),
        ((first(0), second(LARGE)), 0, 0, 0),  # frames are counted from 1
        ((first(5), second(LARGE)), 0, 0, 0),
        ((first("3"), second(LARGE)), 0, 0, 0),
        ((first(True), second(LARGE)), 0, 0, 0),
        ((first(3, " "), second(LARGE)), 0, 0, 0),
        ((first(3, 7), second(LARGE)), 0, 0, 0),
        ((answer([{"frame_idx": 3}]), second(LARGE)), 0, 0, 0),
        ((answer({"frame_idx": 3, "object description": "a mug"}), second(LARGE)), 0, 0, 0),
        ((answer([]), ""), 0, 0, 0),
        (("", ""), 0, 0, 0),
    ],
)
def test_the_parts(texts, form, area, spatial):
    parts = video_reward_parts("revseg", *texts, TRUTH)
    assert parts == {"format": form, "temporal": pytest.approx(area), "spatial": spatial}
    assert video_reward_parts("revseg_no_temporal", *texts, TRUTH) == {**parts, "temporal": 0}
    is_seen = float(form > 0 and chosen_frame(texts[0], 4).index != 3)
    assert video_reward_parts("revseg_visible", *texts, TRUTH) == {**parts, "temporal": is_seen}


def test_boxes_of_one_size_are_all_the_largest():
    truth = VideoTruth((SMALL, None, SMALL))
    assert video_reward_parts("revseg", first(1), "", truth)["temporal"] == 1
    assert video_reward_parts("revseg", first(2), "", truth)["temporal"] == 0


@pytest.mark.parametrize(
    ("text", "reward"), [(answer([]), 3), (answer([]).replace("<think>", ""), 0), ("[]", 0), (first(1), 0.5)]
)
def test_where_nothing_fits_an_empty_list_earns_everything(text, reward):
    assert sum(video_reward_parts("revseg", text, "", NOTHING).values()) == reward
    assert sum(video_reward_parts("revseg_no_temporal", text, "", NOTHING).values()) == min(reward, 2)


def test_round_2_speaks_of_pixels_of_its_image():
    truth = VideoTruth((LARGE, None), answer_wh=(420, 84))
    assert video_reward_parts("revseg", first(1), second((0, 0, 14.5, 0.9)), truth)["spatial"] == 1
    assert video_reward_parts("revseg", first(1), second(LARGE), truth)["spatial"] == 0


def test_an_unknown_reward_is_refused():
    with pytest.raises(InvalidInput, match="expected one of revseg, "):
        video_reward_parts("best", "", "", TRUTH)


@given(st.sampled_from(sorted(VIDEO_REWARDS)), st.text(max_size=60), st.text(max_size=60), st.booleans())
def test_any_text_earns_something_within_bounds(name, one, two, is_wrapped):
    if is_wrapped:
        one, two = (f"<think></think><answer>{text}</answer>" for text in (one, two))
    parts = video_reward_parts(name, one, two, TRUTH)
    assert all(0 <= value <= 1 for value in parts.values())

"""Rewards in tables of cases that were computed by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.reinforcement.rewards import REWARDS, RewardTruth, reward_parts
from reasonseg_ros.training.rows import TrueTarget

# 100 x 100 pixels each.
A = TrueTarget((100, 100, 199, 199), ((150, 150),))
B = TrueTarget((500, 500, 599, 599), ((550, 550),))
TWO_POINTS = TrueTarget((100, 100, 199, 199), ((120, 120), (180, 180)))


def said(*items, thought="a cup"):
    return f"<think>{thought}</think><answer>{json.dumps(list(items))}</answer>"


def item(box, point):
    return {"bbox_2d": box, "point_2d": point}


def one(box, first, second):
    values = {"bbox": box, "points_1": first, "points_2": second}
    return f"<think>a cup</think><answer>{json.dumps(values)}</answer>"


ITEM_A, ITEM_B = item([100, 100, 199, 199], [150, 150]), item([500, 500, 599, 599], [550, 550])


@pytest.mark.parametrize(
    ("items", "targets", "accuracy"),
    [
        ([ITEM_A], (A,), 3),
        ([item([109, 109, 208, 208], [150, 150])], (A,), 3),  # L1 9, IoU 8281 / 11719
        ([item([110, 110, 209, 209], [150, 150])], (A,), 2),  # L1 10 is not below 10; IoU 8100 / 11900
        ([item([100, 100, 199, 149], [150, 149])], (A,), 1),  # IoU exactly 0.5, L1 12.5; the point counts
        ([item([100, 100, 199, 150], [150, 149])], (A,), 2),  # IoU 0.51
        ([item([100, 100, 199, 149], [150, 150])], (A,), 0),  # the point lies below its own box
        ([item([100, 100, 199, 199], [179, 150])], (A,), 3),  # 29 px off
        ([item([100, 100, 199, 199], [180, 150])], (A,), 2),  # 30 px is not below 30
        ([ITEM_B, ITEM_A], (A, B), 3),
        ([ITEM_A], (A, B), 1.5),
        ([ITEM_A, ITEM_B, ITEM_B], (A, B), 2),
        ([ITEM_A, ITEM_A], (A,), 1.5),
        ([ITEM_A, ITEM_A], (A, B), 1.5),  # a target is matched once
        ([item([199, 199, 100, 100], [150, 150])], (A,), 0),
        ([], (A,), 0),
        ([], (), 3),
        ([ITEM_A], (), 0),
        ([{"bbox_2d": [100, 100, 199, 199]}], (A,), 0),
        ([ITEM_A, {"bbox_2d": [1, 2, 3], "point_2d": [2, 2]}], (A,), 0),  # one unreadable item spoils the list
        ([item([100, 100, 199, 199], [150, 1e400])], (A,), 0),
    ],
)
def test_accuracy_of_lists(items, targets, accuracy):
    assert reward_parts("vision_reasoner", said(*items), RewardTruth(targets))["accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("items", "targets", "iou", "l1", "point"),
    [
        ([ITEM_A], (A,), 1, 1, 1),
        ([item([110, 110, 209, 209], [150, 150])], (A,), 1, 0, 1),
        ([item([100, 100, 199, 149], [150, 149])], (A,), 0, 0, 1),
        ([item([100, 100, 199, 199], [180, 150])], (A,), 1, 1, 0),
        ([ITEM_A, item([500, 500, 599, 549], [550, 549])], (A, B), 0.5, 0.5, 1),
        ([], (), 1, 1, 1),
        ([], (A,), 0, 0, 0),
    ],
)
def test_one_part_of_the_accuracy(items, targets, iou, l1, point):
    earned = {
        name: reward_parts(f"vision_reasoner_{name}_only", said(*items), RewardTruth(targets))["accuracy"]
        for name in ("iou", "l1", "point")
    }
    assert earned == {"iou": iou, "l1": l1, "point": point}


@pytest.mark.parametrize(
    ("content", "targets", "exact", "soft"),
    [
        (json.dumps([ITEM_A]), (A,), 2, 2),
        (json.dumps([ITEM_A, {"bbox_2d": [1, 2, 3, 4]}]), (A,), 1.5, 1.5),
        (json.dumps([{"bbox": [1, 2, 3, 4], "point": [2, 3]}]), (A,), 0, 2),
        (json.dumps([{"bbox_2d": [1, 2, 3], "point_2d": [2, 3]}]), (A,), 1, 1),
        (json.dumps([{"bbox_2d": "1234", "point_2d": [2, 3, 4]}]), (A,), 0, 0),
        (json.dumps([{"bbox_2d": [1, 2, 3, "4"], "point_2d": [2, True]}]), (A,), 0, 0),
        (json.dumps(ITEM_A), (A,), 0, 0),  # an object, no list
        (json.dumps([[ITEM_A]]), (A,), 0, 0),
        ("[]", (A,), 0, 0),  # nothing said where something is
        ("[]", (), 2, 2),
        ("", (), 0, 0),
        ("none", (), 0, 0),
        (json.dumps([ITEM_A])[:-1], (A,), 0, 0),
        ("[" * 5000, (A,), 0, 0),
        ("null", (), 0, 0),
    ],
)
def test_format_of_lists(content, targets, exact, soft):
    text = f"<think>a cup</think><answer>{content}</answer>"
    assert reward_parts("vision_reasoner", text, RewardTruth(targets))["answer_format"] == exact
    assert reward_parts("vision_reasoner_soft_format", text, RewardTruth(targets))["answer_format"] == soft


@pytest.mark.parametrize(
    ("text", "earned"),
    [
        ("<think>a</think><answer>b</answer>", 1),
        ("<think>a\nb</think>\n\n<answer>b</answer>", 1),
        ("<think></think><answer></answer>", 1),
        ("<think>a <think>b</think></think><answer>c</answer>", 1),  # nested, as published
        ("<think>a</think><answer>b</answer> ", 0),
        (" <think>a</think><answer>b</answer>", 0),
        ("<think>a</think>so<answer>b</answer>", 0),
        ("<answer>b</answer><think>a</think>", 0),
        ("<THINK>a</THINK><answer>b</answer>", 0),
        ("<think>a</think><answer>b", 0),
        ("", 0),
    ],
)
def test_format_of_thoughts(text, earned):
    for name in REWARDS:
        assert reward_parts(name, text, RewardTruth((A,)))["thought_format"] == earned


@pytest.mark.parametrize(
    ("text", "earned"),
    [("a. b. c", 1), ("a. a. b", 1), ("a. a. a", 0), ("a. b. a. b", 0), ("a... . a", 1), ("", 0), ("...", 0)],
)
def test_repetition(text, earned):
    assert reward_parts("vision_reasoner", text, RewardTruth((A,)))["no_repetition"] == earned


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (one([100, 100, 199, 199], [120, 120], [180, 180]), (1, 1, 1, 1)),
        (one([100, 100, 199, 199], [180, 180], [120, 120]), (1, 1, 1, 1)),  # points in any order
        (one([110, 110, 209, 209], [120, 120], [180, 180]), (1, 1, 0, 1)),
        (one([100, 100, 199, 149], [120, 120], [140, 149]), (1, 0, 0, 1)),  # IoU 0.5
        (one([100, 100, 199, 199], [120, 120], [200, 180]), (1, 1, 1, 0)),  # a point outside the box
        (one([0, 0, 400, 400], [20, 120], [280, 180]), (1, 0, 0, 0)),  # (100 + 100) / 2 is not below 100
        (one([0, 0, 400, 400], [21, 120], [280, 180]), (1, 0, 0, 1)),  # 99.5
        (one([100, 100, 199], [120, 120], [180, 180]), (0, 0, 0, 0)),
        (one([100, 100, 199, 199], [120, 120], [180]), (0, 1, 1, 0)),  # the box counts for itself
        ("<think>a cup</think><answer>[]</answer>", (0, 0, 0, 0)),
        ("<think>a cup</think><answer></answer>", (0, 0, 0, 0)),
    ],
)
def test_the_five_of_one_object(text, parts):
    earned = reward_parts("seg_zero", text, RewardTruth((TWO_POINTS,)))
    assert tuple(earned.values()) == (1, *parts)
    assert reward_parts("seg_zero_strict", text, RewardTruth((TWO_POINTS,))) == earned


def test_strict_format_wants_the_keys_of_the_prompt():
    text = (
        '<think>a</think><answer>{"Bbox_2d": [100,100,199,199], "points_a": [120,120], "points_b": [180,180]}</answer>'
    )
    assert list(reward_parts("seg_zero", text, RewardTruth((TWO_POINTS,))).values()) == [1, 1, 1, 1, 1]
    assert list(reward_parts("seg_zero_strict", text, RewardTruth((TWO_POINTS,))).values()) == [1, 0, 0, 0, 0]


def test_nothing_said_about_nothing_earns_all_five():
    for content, earned in (("[]", 5), ("{}", 5), ("none", 1)):
        text = f"<think>a cup</think><answer>{content}</answer>"
        assert sum(reward_parts("seg_zero", text, RewardTruth(())).values()) == earned
    something = one([100, 100, 199, 199], [120, 120], [180, 180])
    assert list(reward_parts("seg_zero", something, RewardTruth(())).values()) == [1, 1, 0, 0, 0]


def test_soft_accuracy():
    text = one([100, 100, 199, 149], [120, 120], [140, 140])
    parts = reward_parts("seg_zero_soft_accuracy", text, RewardTruth((TWO_POINTS,)))
    assert parts["box_iou"] == pytest.approx(0.5) and parts["box_l1"] == pytest.approx(1 - 12.5 / 840)
    items = said(item([100, 100, 199, 149], [150, 149]))
    soft = reward_parts("vision_reasoner_soft_accuracy", items, RewardTruth((A,)))["accuracy"]
    assert soft == pytest.approx(0.5 + 1 - 12.5 / 840 + 1)


@pytest.mark.parametrize(
    ("wh", "box", "point"),
    [
        ((420, 420), [50, 50, 99, 99], [75, 75]),
        ((224, 168), [27, 20, 53, 40], [40, 30]),
        ((1000, 1000), [119, 119, 237, 237], [179, 179]),
    ],
)
def test_texts_may_speak_of_images_of_other_sizes(wh, box, point):
    text = said(item(box, point))
    assert reward_parts("vision_reasoner", text, RewardTruth((A,), wh))["accuracy"] == 3
    assert reward_parts("vision_reasoner", text, RewardTruth((A,)))["accuracy"] < 3
    five = one(box, point, point)
    assert list(reward_parts("seg_zero", five, RewardTruth((A,), wh)).values()) == [1] * 5


def test_what_cannot_be_rewarded_is_refused():
    with pytest.raises(InvalidInput, match="2 targets"):
        reward_parts("seg_zero", "", RewardTruth((A, B)))
    with pytest.raises(InvalidInput, match="expected one of seg_zero"):
        reward_parts("best", "", RewardTruth((A,)))
    with pytest.raises(InvalidInput, match="at least 1 pixel"):
        RewardTruth((A,), (0, 840))


@given(st.text(st.sampled_from('<>/thinkanswer{}[]":,.0123456789 bbox_2dpoint'), max_size=120))
def test_no_text_makes_a_reward_raise_or_leave_its_range(text):
    for name in REWARDS:
        for targets in ((A,), ()):
            for wrapped in (text, f"<think>a</think><answer>{text}</answer>"):
                parts = reward_parts(name, wrapped, RewardTruth(targets))
                assert all(type(value) is float for value in parts.values())
                assert all(value >= 0 for value in parts.values()) and sum(parts.values()) <= 7

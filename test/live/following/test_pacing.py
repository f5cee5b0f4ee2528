"""The images that a late answer is propagated through, chosen by hand-made changes."""

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.following.pacing import StepPlan, changes_between, first_step
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.types import Frame


def picture(shift_px):
    rgb = np.zeros((48, 240, 3), np.uint8)
    rgb[10:30, shift_px : shift_px + 20] = 250
    return rgb


def arrivals(shifts, damaged=()):
    def load(index):
        if index in damaged:
            raise InvalidInput("cut short")
        return Frame(picture(shifts[index]), index + 1)

    return [Arrival(index + 1, 1, lambda index=index: load(index)) for index in range(len(shifts))]


@pytest.mark.parametrize(
    ("changes", "steps", "expected"),
    [
        ([1, 1, 1, 1], 2, 1),
        ([1, 1, 1, 1], 4, 0),
        ([1, 1, 1, 1], 1, 3),
        ([0, 0, 0, 0], 2, 1),
        ([0, 0, 6, 6], 2, 2),
        ([4, 4, 0, 0], 2, 0),
        ([0, 0, 0, 9], 2, 2),
    ],
)
def test_each_step_covers_the_same_change(changes, steps, expected):
    assert first_step(np.array(changes, float), np.ones(len(changes), int), steps) == expected


def test_change_is_the_mean_squared_difference():
    black, half, white = (np.full((24, 32), value, np.float32) for value in (0.0, 0.5, 1.0))
    assert changes_between([black, white, half, half]).tolist() == [1.0, 0.25, 0.0]


def test_the_steps_go_where_the_target_moves():
    shifts = [20 * step for step in range(1, 6)] + [100] * 25  # it moves in the first 5 of 30 images
    later, place, steps = arrivals(shifts), -1, []
    plan = StepPlan()
    for left in (4, 3, 2, 1):
        frame = Frame(picture(0 if place < 0 else shifts[place]), place + 1)
        place += 1 + plan.next(frame, later[place + 1 :], left)
        steps.append(place)
    assert steps[-1] == 29
    assert sum(step < 6 for step in steps) >= 2


def test_a_still_scene_is_walked_through_evenly():
    assert 8 <= StepPlan().next(Frame(picture(0)), arrivals([0] * 30), 3) <= 11


def test_every_image_if_there_is_time_and_the_newest_if_there_is_none():
    later = arrivals([0] * 5)
    assert StepPlan().next(Frame(picture(0)), later, 5) == 0
    assert StepPlan().next(Frame(picture(0)), later, 1) == 4


def test_a_damaged_image_is_no_step():
    later = arrivals([0] * 12, damaged=range(3, 8))
    assert StepPlan().next(Frame(picture(0)), later, 2) not in range(3, 8)
    assert StepPlan().next(Frame(picture(0)), arrivals([0] * 12, damaged=range(12)), 2) == 11

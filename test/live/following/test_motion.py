"""Masks moved by optical flow, against motions that the pictures were made with."""

import cv2
import numpy as np
import pytest

from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.live.following.motion import motion_of, moved_mask

SIZE_WH = 320, 240


def texture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE_WH[1] // 8, SIZE_WH[0] // 8, 3), np.uint8)
    return cv2.resize(noise, SIZE_WH, interpolation=cv2.INTER_CUBIC)


def scene(motion, background=1, target=2):
    """A textured disc after a motion, float [2, 3], in front of a background that stays; and its mask."""
    disc = np.zeros(SIZE_WH[::-1], np.uint8)
    cv2.circle(disc, (150, 120), 40, 1, cv2.FILLED)
    mask = cv2.warpAffine(disc, motion, SIZE_WH, flags=cv2.INTER_NEAREST).astype(bool)
    return np.where(mask[..., None], cv2.warpAffine(texture(target), motion, SIZE_WH), texture(background)), mask


STILL = np.eye(2, 3)


@pytest.mark.parametrize(
    "motion",
    [
        STILL,
        np.array([[1, 0, 12], [0, 1, -7]], float),
        cv2.getRotationMatrix2D((150, 120), 12, 1.0),
        cv2.getRotationMatrix2D((150, 120), 0, 1.15),
    ],
    ids=["still", "shifted", "turned", "nearer"],
)
def test_a_mask_moves_as_its_content_does(motion):
    (before, mask), (after, truth) = scene(STILL), scene(motion)
    assert mask_iou(moved_mask(before, after, mask), truth) > 0.97


def test_a_moving_camera_moves_the_mask_too():
    (before, mask), (after, _) = scene(STILL), scene(STILL)
    after = np.roll(after, (5, 9), (0, 1))
    assert mask_iou(moved_mask(before, after, mask), np.roll(mask, (5, 9), (0, 1))) > 0.97


def test_a_target_that_moved_far_is_found_again():
    motion = np.array([[1, 0, 55], [0, 1, -40]], float)
    (before, mask), (after, truth) = scene(STILL), scene(motion)
    assert motion_of(*(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (before, after)), mask) is None
    assert mask_iou(moved_mask(before, after, mask), truth) > 0.95


def test_a_tiny_target_or_one_at_the_border_does_not_fail():
    before, _ = scene(STILL)
    for rows, columns in ((slice(0, 1), slice(0, 1)), (slice(238, 240), slice(0, 320)), (slice(0, 240), slice(0, 320))):
        mask = np.zeros(SIZE_WH[::-1], bool)
        mask[rows, columns] = True
        moved = moved_mask(before, before, mask)
        assert moved is None or mask_iou(moved, mask) > 0.9


def test_what_is_covered_replaced_or_plain_is_not_moved():
    before, mask = scene(STILL)
    assert moved_mask(before, scene(STILL, target=3)[0], mask) is None
    assert moved_mask(before, texture(1), mask) is None
    plain = np.full_like(before, 90)
    assert moved_mask(plain, plain, mask) is None
    assert moved_mask(before, before, np.zeros_like(mask)) is None


def test_a_target_that_left_the_image_is_not_moved():
    before, mask = scene(STILL)
    after, _ = scene(np.array([[1, 0, 260], [0, 1, 0]], float))
    assert moved_mask(before, after, mask) is None

from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.drawing import PALETTE_RGB, answer_title, draw
from reasonseg_ros.types import Answer, Grounding, Region, Status


def region(mask, label="mug"):
    box = np.array([30, 40, 60, 70], np.float32)
    grounding = Grounding(box, np.array([[45, 55]], np.float32), label=label)
    return Region(mask, box, grounding, 0.9, 1.0, 1.0, 0, 1)


@pytest.fixture
def mask():
    mask = np.zeros((120, 160), bool)
    mask[40:70, 30:60] = True
    return mask


def test_masks_are_blended_and_the_rest_is_left_alone(mask):
    rgb = np.full((120, 160, 3), 100, np.uint8)
    picture = draw(rgb, [region(mask)], alpha=0.5)
    assert (rgb == 100).all()
    np.testing.assert_allclose(picture[66, 35], (100 + PALETTE_RGB[0].astype(int)) / 2, atol=1)
    assert (picture[80:] == 100).all()
    assert tuple(picture[55, 45]) == (255, 255, 255)  # the grounding's point


def test_two_regions_have_two_colours(mask):
    other = np.roll(mask, 40, axis=1)
    picture = draw(np.zeros((120, 160, 3), np.uint8), [region(mask), region(other)], alpha=1.0)
    assert tuple(picture[66, 35]) != tuple(picture[66, 80])


def test_a_long_title_is_wrapped_on_a_darkened_band(mask):
    rgb = np.full((120, 160, 3), 200, np.uint8)
    one, three = draw(rgb, [], "short"), draw(rgb, [], "a title much too long for one line of so narrow a picture")
    assert 0 < (one != 200).any(axis=(1, 2)).sum() < (three != 200).any(axis=(1, 2)).sum() < 120


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (48, 64)])
def test_tiny_pictures_and_empty_masks_draw_without_error(size):
    rgb = np.zeros((*size, 3), np.uint8)
    picture = draw(rgb, [region(np.zeros(size, bool), "größer als das Bild")], "Wo ist die Tasse?")
    assert picture.shape == rgb.shape


def test_the_title_gives_the_reason_or_why_there_is_none():
    mug = Grounding(np.array([0, 0, 5, 5], np.float32))
    assert answer_title("a drink", Answer(Status.OK, "a mug", (mug,))) == "a drink\na mug"
    assert answer_title("a drink", Answer(Status.NO_TARGET, "no mug here")) == "a drink\n[no_target] no mug here"
    assert answer_title("a drink", Answer(Status.TIMEOUT, "a m", error="60 s")) == "a drink\n[timeout] 60 s"


def test_of_a_followed_target_only_what_belongs_to_this_image_is_drawn(mask):
    rgb = np.full((120, 160, 3), 100, np.uint8)
    followed = draw(rgb, [replace(region(mask), track_id=1, track_state="tracked")], alpha=0.5)
    assert tuple(followed[55, 45]) == tuple(followed[66, 35])  # no point
    hidden = replace(region(np.zeros_like(mask)), track_id=1, track_state="occluded")
    assert (draw(rgb, [hidden]) == rgb).all()

"""The picture of an answer: what it changes of the camera's pixels, which colours it takes, and its band of words."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from reasonseg_ros.images.overlays import lettering
from reasonseg_ros.images.overlays.caption import caption
from reasonseg_ros.images.overlays.drawing import PALETTE_RGB, answer_title, colours, draw, draw_answer
from reasonseg_ros.types import Answer, Grounding, Region, Status

HEIGHT, WIDTH = 240, 320
GREY = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)


def region(mask, label="mug"):
    box = np.array([30, 40, 60, 70], np.float32)
    grounding = Grounding(box, np.array([[45, 55]], np.float32), label=label)
    return Region(mask, box, grounding, 0.9, 1.0, 1.0, 0, 1)


def found(thought="A mug holds a drink."):
    return Answer(Status.OK, thought, (Grounding(np.array([0, 0, 5, 5], np.float32)),))


@pytest.fixture
def mask():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[40:70, 30:60] = True
    return mask


def near(mask, px):
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * px + 1,) * 2, np.uint8)) > 0


def test_the_camera_is_changed_in_and_beside_the_masks_only(mask):
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    before = rgb.copy()
    picture = draw_answer(rgb, [region(mask, "a mug with a long name")], "a long question " * 30, found("why " * 300))
    assert (rgb == before).all()
    assert (picture[:HEIGHT][~near(mask, 3)] == rgb[~near(mask, 3)]).all()
    assert (picture[:HEIGHT][mask] != rgb[mask]).any()


TARGETS = [(200, 40, 30), (240, 220, 40), (40, 90, 200), (40, 160, 60), (250, 250, 250), (5, 5, 5)]


@pytest.mark.parametrize("target", TARGETS)
def test_a_targets_own_colour_is_recognised_below_the_fill(mask, target):
    rgb = np.where(mask[..., None], np.uint8(target), GREY)
    inside = draw(rgb, [region(mask)])[60:64, 35:40].reshape(-1, 3).mean(0)
    assert np.abs(inside - target).max() < 35
    assert min(TARGETS, key=lambda one: np.linalg.norm(inside - one)) == target


@pytest.mark.parametrize("surroundings", [(230, 25, 75), (60, 180, 75), (0, 0, 0), (255, 255, 255), (128, 128, 128)])
@pytest.mark.parametrize("target", [(230, 25, 75), (70, 240, 240), (0, 130, 200), (128, 128, 128)])
def test_the_outline_stands_out_from_the_target_and_from_what_is_around_it(mask, target, surroundings):
    rgb = np.where(mask[..., None], np.uint8(target), np.full_like(GREY, surroundings))
    three = np.float32([[colours(rgb, [region(mask)])[0], target, surroundings]]) / 255
    outline, inside, outside = cv2.cvtColor(three, cv2.COLOR_RGB2Lab)[0]
    assert min(np.linalg.norm(outline - inside), np.linalg.norm(outline - outside)) > 40


def test_regions_have_different_colours_and_the_first_has_the_palettes_first(mask):
    many = [region(np.roll(mask, 20 * index, axis=1)) for index in range(10)]
    assert len({tuple(colour) for colour in colours(GREY, many)}) == 10
    assert (colours(GREY, many)[0] == PALETTE_RGB[0]).all()
    assert len(colours(GREY, many * 2)) == 20


def test_the_opacity_of_the_fill_is_set(mask):
    picture = draw(GREY, [region(mask)], alpha=0.5)
    np.testing.assert_allclose(picture[62, 37], (100 + PALETTE_RGB[0].astype(int)) / 2, atol=1)
    assert tuple(picture[55, 45]) == (255, 255, 255)  # the grounding's point


def test_the_words_stand_below_the_camera_and_the_band_has_one_height(mask):
    short = draw_answer(GREY, [], "a mug?", found("yes"))
    long = draw_answer(GREY, [region(mask)] * 12, "which of these? " * 20, found("because " * 500))
    failed = draw_answer(GREY, [], "", Answer(Status.TIMEOUT, error="60 s"))
    assert short.shape == long.shape == failed.shape and short.shape[0] > HEIGHT and short.shape[1] == WIDTH
    assert (short[:HEIGHT] == GREY).all()


def test_question_thought_and_names_look_different():
    def band(**changes):
        values = {"question": "", "text": "", "status": "", "entries": ()} | changes
        return caption((640, 480), **values)

    empty = band()
    question, thought = band(question="the mug"), band(text="the mug")
    assert brightest(question) > brightest(thought) + 40 > brightest(empty) + 100
    no_target, failed = band(text="none", status="no_target"), band(text="none", status="failed")
    assert len({brightest(one) for one in (thought, no_target, failed)}) == 3


def brightest(band):
    return int(band.astype(int).sum(2).max()) // 3


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (48, 64), (2000, 1), (1, 2000)])
def test_tiny_and_narrow_pictures_are_drawn_without_error(size):
    rgb = np.zeros((*size, 3), np.uint8)
    everything = np.ones(size, bool)
    picture = draw_answer(rgb, [region(np.zeros(size, bool)), region(everything)], "Wo ist die Tasse?", found())
    assert picture.shape[1] == size[1] and picture.shape[0] >= size[0]


@pytest.mark.parametrize("has_fonts", [True, False])
def test_lines_fit_and_lose_no_word_before_the_last(has_fonts, monkeypatch):
    lettering.text_width_px.cache_clear()
    if not has_fonts:
        monkeypatch.setattr(lettering, "_font", lambda: None)
    text = "the thing to drink from, " * 6 + "x" * 90 + " 面包在哪里"
    lines = lettering.wrapped(text, 200, 99, 14)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert max(lettering.text_width_px(line, 14) for line in lines) <= 200
    cut = lettering.wrapped(text, 200, 2, 14)
    assert len(cut) == 2 and cut[-1].endswith("…") and lettering.text_width_px(cut[-1], 14) <= 200
    band = np.zeros((30, 220, 3), np.uint8)
    lettering.write_text(band, "Größe 面", (5, 20), (255, 255, 255), 14)
    assert band.any()
    lettering.text_width_px.cache_clear()


def test_the_title_gives_the_reason_or_why_there_is_none():
    assert answer_title("a drink", found("a mug")) == "a drink\na mug"
    assert answer_title("a drink", Answer(Status.NO_TARGET, "no mug here")) == "a drink\n[no_target] no mug here"
    assert answer_title("a drink", Answer(Status.TIMEOUT, "a m", error="60 s")) == "a drink\n[timeout] 60 s"


def test_of_a_followed_target_only_what_belongs_to_this_image_is_drawn(mask):
    followed = draw(GREY, [replace(region(mask), track_id=1, track_state="tracked")], alpha=0.5)
    assert tuple(followed[55, 45]) == tuple(followed[62, 37])  # no point
    hidden = replace(region(np.zeros_like(mask)), track_id=1, track_state="occluded")
    assert (draw(GREY, [hidden]) == GREY).all()

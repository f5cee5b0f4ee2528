"""Changed copies of images, the expected answers about them, and the counts."""

import json

import cv2
import numpy as np
import pytest

from reasonseg_ros.config import config_from
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.consistency import (
    CHANGES,
    CROPPED_SHARE,
    CopyResult,
    ask_about_copies,
    consistency_summary,
)
from reasonseg_ros.evaluation.consistency_run import CopyLines
from reasonseg_ros.evaluation.mirrored_words import mirrored_question
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Answer, Frame, Grounding, Status

SIZE_WH = (200, 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cup left of the bowl", "the cup right of the bowl"),
        ("The leftmost cup, not the RIGHTMOST one", "The rightmost cup, not the LEFTMOST one"),
        ("what is on the right?", "what is on the left?"),
        ("the cup on its far left side", "the cup on its far right side"),
        ("the left-hand drawer", "the right-hand drawer"),
        ("the lamps left and right of the bed", "the lamps right and left of the bed"),
        ("turn it clockwise", "turn it counterclockwise"),
        ("the red mug", "the red mug"),
        ("hand over the right item", None),
        ("what is left over?", None),
        ("the right tool for the job", None),
        ("die Tasse für den Tee", None),
        ("왼쪽 컵", None),
    ],
)
def test_a_question_is_mirrored_or_refused(text, expected):
    assert mirrored_question(text) == expected


@pytest.mark.parametrize("text", ["the cup left of the bowl", "the leftmost of the lamps on the right side"])
def test_a_mirrored_question_mirrors_back(text):
    assert mirrored_question(mirrored_question(text)) == text


class BrightReasoner(Reasoner):
    """Points at the bright part; with `side` it believes in one side of the image, whatever is there."""

    name = "bright"

    def __init__(self, side="", floor=128):
        self.side = side
        self.floor = floor
        self.questions = []

    def answer(self, frame, text, call=None):
        self.questions.append(text)
        bright = frame.rgb.max(2) > self.floor
        if self.side == "left":
            bright[:, : frame.rgb.shape[1] // 4] = True
            bright[:, frame.rgb.shape[1] // 4 :] = False
        ys, xs = np.nonzero(bright)
        if not len(xs):
            return Answer(Status.NO_TARGET, model=self.name)
        box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
        return Answer(Status.OK, groundings=(Grounding(box),), model=self.name)


def method(reasoner):
    return SegZero(reasoner, ScriptedSegmenter("box"), config_from({}))


def picture(x=60, y=40, width=40, height=30, value=255):
    rgb = np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
    mask = np.zeros(rgb.shape[:2], bool)
    rgb[y : y + height, x : x + width] = value
    mask[y : y + height, x : x + width] = True
    return rgb, mask


def ask(reasoner, rgb, mask, question="the cup on the left", kinds=CHANGES):
    return {one.kind: one for one in ask_about_copies("s", Frame(rgb), question, mask, method(reasoner), kinds)}


def test_a_model_that_looks_at_the_image_is_consistent_in_every_kind():
    reasoner = BrightReasoner()
    found = ask(reasoner, *picture())
    assert {kind: one.outcome for kind, one in found.items()} == dict.fromkeys(CHANGES, "consistent")
    assert min(one.iou for one in found.values()) > 0.95
    assert reasoner.questions == ["the cup on the right", *["the cup on the left"] * 4]


def test_a_model_that_prefers_a_side_is_found_by_the_mirror_alone():
    _, mask = picture(x=0, y=0, width=50, height=100)
    found = ask(BrightReasoner("left"), picture()[0], mask)
    inconsistent = {kind for kind, one in found.items() if one.outcome == "inconsistent"}
    assert inconsistent == {"mirrored"} and found["mirrored"].iou == 0


def test_a_model_that_depends_on_brightness_is_found_by_the_dark_copy():
    found = ask(BrightReasoner(floor=200), *picture(value=220))
    assert found["darkened"].outcome == "inconsistent" and found["darkened"].status == "no_target"
    assert found["compressed"].outcome == "consistent"


def test_nothing_fits_has_to_stay_so():
    dark = np.zeros((100, 200, 3), np.uint8)
    nothing = np.zeros((100, 200), bool)
    assert {one.outcome for one in ask(BrightReasoner(), dark, nothing).values()} == {"consistent"}
    assert ask(BrightReasoner(), picture()[0], nothing)["rescaled"].outcome == "inconsistent"


def test_the_crop_leaves_the_answer_whole():
    rgb, mask = picture(x=0, width=30)
    copy = CHANGES["cropped"](rgb, "q", mask)
    assert copy.mask.sum() == mask.sum()
    assert copy.mask.shape == (100 - 2 * round(100 * CROPPED_SHARE), 200 - round(200 * CROPPED_SHARE))
    full = np.ones_like(mask)
    assert "every side" in CHANGES["cropped"](rgb, "q", full)


def test_masks_follow_their_images():
    rgb, mask = picture()
    for kind in ("mirrored", "cropped", "rescaled", "darkened", "compressed"):
        copy = CHANGES[kind](rgb, "q", mask)
        bright = cv2.cvtColor(copy.rgb, cv2.COLOR_RGB2GRAY) > 90
        agreement = (bright & copy.mask).sum() / (bright | copy.mask).sum()
        assert copy.rgb.shape[:2] == copy.mask.shape and agreement > 0.95, kind


def test_a_copy_without_an_answer_is_inconsistent_and_a_machine_that_fails_is_not_judged():
    class Says(Reasoner):
        name = "says"

        def __init__(self, status):
            self.status = status

        def answer(self, frame, text, call=None):
            return Answer(self.status, error="because")

    rgb, mask = picture()
    outcomes = {status: ask(Says(status), rgb, mask, kinds=["darkened"])["darkened"].outcome for status in
                (Status.UNPARSABLE, Status.TIMEOUT, Status.UNAVAILABLE, Status.OUT_OF_MEMORY)}  # fmt: skip
    assert list(outcomes.values()) == ["inconsistent", "inconsistent", "failed", "failed"]


def result(sample_id, kind, outcome, iou=None):
    return CopyResult(sample_id, kind, outcome, iou, "ok")


def test_rates_count_only_what_was_judged():
    results = [
        result("a", "mirrored", "skipped"),
        result("a", "rescaled", "consistent", 0.9),
        result("b", "mirrored", "consistent", 0.8),
        result("b", "rescaled", "inconsistent", 0.1),
        result("b", "darkened", "failed"),
    ]
    found = consistency_summary(results, without_answer=3)
    assert (found["questions"], found["without_answer"], found["all"]["judged"]) == (2, 3, 3)
    assert found["all"]["rate"] == pytest.approx(2 / 3)
    by_kind = found["by_kind"]
    assert (by_kind["mirrored"]["rate"], by_kind["mirrored"]["skipped"]) == (1.0, 1)
    assert by_kind["rescaled"]["rate"] == 0.5 and by_kind["rescaled"]["interval_95"] == (0.0, 1.0)
    assert by_kind["darkened"]["rate"] is None and by_kind["darkened"]["failed"] == 1
    assert by_kind["cropped"]["interval_95"] is None


def test_nothing_to_judge_is_no_rate():
    found = consistency_summary([], without_answer=2)
    assert found["all"]["rate"] is None and found["questions"] == 0
    json.dumps(found)


def test_lines_are_kept_and_a_torn_one_is_cut_off(tmp_path):
    path = tmp_path / "consistency.jsonl"
    with CopyLines(path) as lines:
        lines.append(result("a", "mirrored", "consistent", 0.9))
        lines.append(result("b", "mirrored", "inconsistent", 0.2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with CopyLines(path) as lines:
        assert list(lines.results) == [("a", "mirrored")]
        lines.append(result("b", "mirrored", "inconsistent", 0.2))
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b"inconsistent", b"\xff", 1).replace(b"mirrored", b"turned", 1))
    with pytest.raises(InvalidInput, match=r"line 1 of .* is no result"), CopyLines(path):
        pass

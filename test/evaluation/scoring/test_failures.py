"""Failure types of cases that are obvious to a person, drawn by hand; five or more for each type."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.failures import FailureType, Measurement, Thresholds, classify, judge, measure
from reasonseg_ros.evaluation.scoring.stand_ins import from_activation, from_mask
from reasonseg_ros.types import Grounding

WIDTH, HEIGHT = 320, 240


def canvas():
    return np.zeros((HEIGHT, WIDTH), np.uint8)


def rectangle(x1, y1, x2, y2):
    return cv2.rectangle(canvas(), (x1, y1), (x2 - 1, y2 - 1), 1, -1).astype(bool)


def disk(x, y, radius):
    return cv2.circle(canvas(), (x, y), radius, 1, -1).astype(bool)


def polygon(*points):
    return cv2.fillPoly(canvas(), [np.array(points)], 1).astype(bool)


def line(x1, y1, x2, y2, thickness):
    return cv2.line(canvas(), (x1, y1), (x2, y2), 1, thickness).astype(bool)


def comb(mask, step, teeth):
    """The mask with slits cut into it from above, all the way but for its last rows."""
    slits = np.zeros_like(mask)
    for x in range(0, WIDTH, step):
        slits[: HEIGHT // 2 + 30, x : x + teeth] = True
    return mask & ~slits


def says(x1, y1, x2, y2, *points):
    return [Grounding(np.array([x1, y1, x2, y2]), np.array(points))]


NOTHING = np.zeros((HEIGHT, WIDTH), bool)
FULL = ~NOTHING
MUG = disk(90, 120, 40)
MUG_SAID = says(50, 80, 131, 161, (90, 120), (100, 130))
PLATE = disk(240, 120, 60)
PLATE_SAID = says(180, 60, 301, 181, (240, 120), (250, 110))
BOX = rectangle(100, 60, 220, 180)
BOX_SAID = says(100, 60, 220, 180, (160, 120), (120, 80))
PEN = line(40, 200, 280, 200, 9)
PEN_SAID = says(36, 196, 285, 205, (160, 200))
STAR = polygon((160, 40), (180, 100), (240, 100), (190, 140), (210, 200), (160, 165), (110, 200), (130, 140), (80, 100))
STAR_SAID = says(80, 40, 241, 201, (160, 120))
TABLE = rectangle(0, 150, 320, 240)

# What the reasoner pointed at, the mask, the true mask.
OBVIOUS = {
    FailureType.UNPARSABLE: [
        ([], None, MUG),
        ([], None, BOX),
        ([], None, NOTHING),
        ([], None, FULL),
        (MUG_SAID, None, MUG),
    ],
    FailureType.FALSE_POSITIVE: [
        (MUG_SAID, MUG, NOTHING),
        (PLATE_SAID, PLATE, NOTHING),
        (says(0, 0, 320, 240), FULL, NOTHING),
        ([], disk(5, 5, 2), NOTHING),
        (MUG_SAID, MUG | PLATE, NOTHING),
    ],
    FailureType.FALSE_NEGATIVE: [
        ([], NOTHING, MUG),
        ([], NOTHING, FULL),
        ([], NOTHING, disk(5, 5, 2)),
        (MUG_SAID, NOTHING, MUG),
        ([], NOTHING, MUG | PLATE),
    ],
    FailureType.OK: [
        (MUG_SAID, MUG, MUG),
        (MUG_SAID, disk(91, 120, 40), MUG),
        (BOX_SAID, rectangle(102, 61, 221, 179), BOX),
        (STAR_SAID, STAR, STAR),
        (says(50, 60, 301, 181, (90, 120), (240, 120)), MUG | PLATE, MUG | PLATE),
        (says(0, 0, 20, 20), MUG, MUG),  # a good mask is good, however it came about
        ([], NOTHING, NOTHING),
    ],
    FailureType.MISREAD: [
        (PLATE_SAID, PLATE, MUG),  # wrong object
        (MUG_SAID, MUG, PLATE),
        (says(0, 150, 320, 240, (20, 230)), TABLE, MUG),
        (says(0, 0, 30, 30, (10, 10)), disk(15, 15, 14), BOX),
        (says(0, 0, 320, 240, (5, 5)), FULL, MUG),  # too broad
        (says(140, 60, 165, 90, (20, 20)), rectangle(140, 60, 165, 90), BOX),  # partial
        ([], PLATE, MUG),  # a mask without anything that the reasoner pointed at
    ],
    FailureType.WRONG_MASK: [
        (MUG_SAID, PLATE, MUG),  # the segmenter went elsewhere
        (BOX_SAID, TABLE & ~BOX, BOX),
        (BOX_SAID, disk(160, 120, 12), BOX),  # a knob on the box
        (MUG_SAID, FULL & ~MUG, MUG),  # the complement
        (PEN_SAID, rectangle(0, 180, 320, 240), PEN),  # what the pen lies on
        (MUG_SAID, rectangle(0, 60, 320, 180), MUG),
        (BOX_SAID, rectangle(100, 60, 120, 180) | rectangle(230, 0, 320, 200), BOX),
    ],
    FailureType.POOR_QUALITY: [
        (MUG_SAID, disk(90, 120, 50), MUG),  # leaked all around
        (BOX_SAID, BOX | rectangle(220, 60, 310, 160), BOX),  # leaked to one side
        (BOX_SAID, rectangle(100, 60, 220, 130), BOX),  # lower half missing
        (BOX_SAID, BOX & ~disk(160, 120, 40), BOX),  # a large hole
        (BOX_SAID, BOX & ~line(140, 60, 140, 180, 20) & ~line(190, 60, 190, 180, 20), BOX),  # in three pieces
        (BOX_SAID, comb(BOX, 8, 3), BOX),  # frayed
    ],
}
CASES = [(kind, number) for kind, cases in OBVIOUS.items() for number in range(len(cases))]


def test_every_type_has_five_obvious_cases():
    assert set(OBVIOUS) == set(FailureType)
    assert min(len(cases) for cases in OBVIOUS.values()) >= 5


@pytest.mark.parametrize(("kind", "number"), CASES, ids=lambda value: str(value))
def test_an_obvious_case_has_its_type(kind, number):
    groundings, mask, target = OBVIOUS[kind][number]
    assert classify(mask, target, groundings=groundings).type is kind


@pytest.mark.parametrize(("kind", "number"), CASES, ids=lambda value: str(value))
def test_the_type_is_the_same_mirrored(kind, number):
    groundings, mask, target = OBVIOUS[kind][number]
    mirrored = []
    for grounding in groundings:
        x1, y1, x2, y2 = grounding.box_xyxy
        points = [[WIDTH - 1 - x, y] for x, y in grounding.points_xy]
        mirrored += says(WIDTH - x2, y1, WIDTH - x1, y2, *points)
    assert classify(None if mask is None else mask[:, ::-1], target[:, ::-1], groundings=mirrored).type is kind


@pytest.mark.parametrize(
    ("number", "tag"), [(0, "wrong object"), (3, "wrong object"), (4, "too broad"), (5, "partial"), (6, "wrong object")]
)
def test_a_misreading_says_how(number, tag):
    groundings, mask, target = OBVIOUS[FailureType.MISREAD][number]
    assert classify(mask, target, groundings=groundings).tags == (tag,)


@pytest.mark.parametrize(
    ("number", "tags"),
    [
        (0, {"leakage", "rough edge"}),
        (1, set()),
        (2, {"missing"}),
        (3, {"holes"}),
        (4, {"missing", "fragments"}),
        (5, {"missing"}),
    ],
)
def test_poor_quality_says_what_is_poor(number, tags):
    groundings, mask, target = OBVIOUS[FailureType.POOR_QUALITY][number]
    assert tags <= set(classify(mask, target, groundings=groundings).tags)


def test_a_clean_half_has_no_tag_but_missing_and_its_edge():
    failure = classify(rectangle(100, 60, 220, 130), BOX, groundings=BOX_SAID)
    assert "holes" not in failure.tags and "fragments" not in failure.tags and "leakage" not in failure.tags


@pytest.mark.parametrize("holes", [0, 1, 2, 3, 5])
def test_holes_are_counted_and_those_open_to_the_border_are_none(holes):
    mask = rectangle(0, 0, 200, 100)
    for number in range(holes):
        mask[40:44, 20 + 30 * number : 24 + 30 * number] = False
    mask[0:10, 180:190] = False  # open above
    measured = measure(mask, BOX)
    assert measured.holes == holes
    assert measured.hole_share == pytest.approx(16 * holes / (mask.sum() + 16 * holes))


def test_specks_are_no_fragments():
    mask = BOX.copy()
    mask[10:12, 10:12] = mask[10:12, 30:32] = mask[230:232, 300:302] = True
    assert measure(mask, BOX).fragments == 1
    assert measure(mask, BOX, fragment_share=0.0).fragments == 4


def test_a_mask_lost_by_the_segmenter_says_so():
    assert classify(NOTHING, MUG, groundings=MUG_SAID).tags == ("mask lost",)
    assert classify(NOTHING, MUG).tags == ()


def test_ignored_pixels_are_removed_before_anything_is_judged():
    leaked = BOX | rectangle(220, 100, 320, 150)
    assert classify(leaked, BOX, groundings=BOX_SAID).type is FailureType.POOR_QUALITY
    ignore = rectangle(220, 0, 320, 240)
    assert classify(leaked, BOX, ignore, BOX_SAID).type is FailureType.OK
    assert classify(leaked, BOX, FULL, BOX_SAID).type is FailureType.OK
    with pytest.raises(InvalidInput, match="320 x 240"):
        classify(leaked[:-1], BOX)


def test_points_just_beside_the_target_still_hit_it():
    beside = says(0, 0, 100, 240, (90 + 43, 120))  # 3 pixels off; 0.008 of the diagonal is 3.2
    assert measure(MUG, MUG, groundings=beside).points_on_target == 1.0
    away = says(0, 0, 100, 240, (90 + 46, 120))
    assert measure(MUG, MUG, groundings=away).points_on_target == 0.0


# Methods without boxes.
@pytest.mark.parametrize(
    ("mask", "target", "kind"),
    [
        (MUG, MUG, FailureType.OK),
        (PLATE, MUG, FailureType.MISREAD),
        (MUG, PLATE, FailureType.MISREAD),
        (NOTHING, MUG, FailureType.FALSE_NEGATIVE),
        (MUG, NOTHING, FailureType.FALSE_POSITIVE),
        (disk(90, 120, 50), MUG, FailureType.POOR_QUALITY),
        (BOX & ~disk(160, 120, 40), BOX, FailureType.POOR_QUALITY),
    ],
)
def test_only_a_mask_is_typed_too(mask, target, kind):
    assert classify(mask, target, groundings=from_mask(mask)).type is kind


def heat(x, y, spread):
    rows, columns = np.mgrid[0:30, 0:40]
    return np.exp(-((columns + 0.5 - x / 8) ** 2 + (rows + 0.5 - y / 8) ** 2) / (2 * (spread / 8) ** 2))


@pytest.mark.parametrize(
    ("activation", "mask", "target", "kind"),
    [
        (heat(90, 120, 34), MUG, MUG, FailureType.OK),
        (heat(240, 120, 40), PLATE, MUG, FailureType.MISREAD),
        (heat(90, 120, 34), PLATE, MUG, FailureType.WRONG_MASK),
        (heat(90, 120, 34), FULL, MUG, FailureType.WRONG_MASK),
        (heat(90, 120, 34), disk(90, 120, 48), MUG, FailureType.POOR_QUALITY),
        (np.zeros((30, 40)), PLATE, MUG, FailureType.MISREAD),
    ],
)
def test_an_activation_map_is_typed_too(activation, mask, target, kind):
    assert classify(mask, target, groundings=from_activation(activation, (WIDTH, HEIGHT))).type is kind


# The rules themselves.
LOCATED = Measurement(
    parsed=True, target_empty=False, prediction_empty=False, grounded=True, iou=0.7, boundary_iou=0.6, boundary_f=0.9,
    box_iou=0.8, box_recall=0.9, box_precision=0.9, points_on_target=1.0, precision=0.85, recall=0.8, inside_box=0.9,
    fragments=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"iou": 0.75, "boundary_iou": 0.5}, FailureType.OK),
        ({"iou": 0.749, "boundary_iou": 0.7}, FailureType.POOR_QUALITY),
        ({"iou": 0.9, "boundary_iou": 0.499}, FailureType.POOR_QUALITY),
        ({"box_iou": 0.499, "points_on_target": 0.5}, FailureType.POOR_QUALITY),
        ({"box_iou": 0.5, "points_on_target": 0.0}, FailureType.POOR_QUALITY),
        ({"box_iou": 0.499, "points_on_target": 0.499}, FailureType.MISREAD),
        ({"box_iou": 0.1, "points_on_target": 1.0}, FailureType.POOR_QUALITY),
        ({"box_iou": 0.099, "points_on_target": 1.0}, FailureType.MISREAD),
        ({"iou": 0.25}, FailureType.POOR_QUALITY),
        ({"iou": 0.249}, FailureType.WRONG_MASK),
        ({"inside_box": 0.5}, FailureType.POOR_QUALITY),
        ({"inside_box": 0.499}, FailureType.WRONG_MASK),
        ({"precision": 0.499, "recall": 0.5}, FailureType.POOR_QUALITY),
        ({"precision": 0.499, "recall": 0.499}, FailureType.WRONG_MASK),
    ],
)
def test_the_types_part_exactly_at_their_thresholds(change, kind):
    assert judge(Measurement(**{**vars(LOCATED), **change}))[0] is kind


@pytest.mark.parametrize(
    ("change", "tags"),
    [
        ({}, ()),
        ({"precision": 0.75, "recall": 0.75, "holes": 2, "hole_share": 0.02, "fragments": 2}, ()),
        ({"precision": 0.749}, ("leakage",)),
        ({"recall": 0.749}, ("missing",)),
        ({"holes": 3}, ("holes",)),
        ({"hole_share": 0.021}, ("holes",)),
        ({"fragments": 3}, ("fragments",)),
        ({"boundary_f": 0.599}, ("rough edge",)),
        ({"boundary_iou": 0.499}, ("rough edge",)),
    ],
)
def test_tags_of_poor_quality_part_exactly_at_their_thresholds(change, tags):
    assert judge(Measurement(**{**vars(LOCATED), **change})) == (FailureType.POOR_QUALITY, tags)


def test_thresholds_can_be_moved():
    assert judge(LOCATED, Thresholds(ok_iou=0.65))[0] is FailureType.OK
    assert judge(LOCATED, Thresholds(wrong_iou=0.71))[0] is FailureType.WRONG_MASK
    assert judge(LOCATED, Thresholds(located_box_iou=0.9, located_points=1.1))[0] is FailureType.MISREAD


@given(st.integers(0, 2**32 - 1), st.integers(0, 7))
def test_any_masks_have_one_type(seed, shape_of_case):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 30)), int(rng.integers(1, 30)))
    has_target, has_mask, has_box = np.binary_repr(shape_of_case, 3)
    target = rng.random(shape) < (rng.random() if has_target == "1" else 0)
    mask = rng.random(shape) < (rng.random() if has_mask == "1" else 0)
    groundings = from_mask(rng.random(shape) < 0.5) if has_box == "1" else ()
    failure = classify(mask, target, rng.random(shape) < 0.1, groundings)
    measured = failure.measured
    assert isinstance(failure.type, FailureType)
    assert (failure.type is FailureType.FALSE_POSITIVE) == (measured.target_empty and not measured.prediction_empty)
    assert (failure.type is FailureType.FALSE_NEGATIVE) == (measured.prediction_empty and not measured.target_empty)
    shares = itertools.islice(vars(measured).values(), 4, None)
    assert all(0 <= value <= 1 or isinstance(value, int) for value in shares)

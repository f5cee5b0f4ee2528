from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Features, ScoredMask, Track
from reasonseg_ros.segmenter.refinement import STEPS, RefinedSegmenter, RefinedTracker, negative_points, snap_to_edges
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import BoolMask, Grounding

SIZE_WH = (160, 120)


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros(SIZE_WH[::-1], bool)
    mask[y1:y2, x1:x2] = True
    return mask


def picture(mask: np.ndarray, seed: int = 0) -> np.ndarray:
    """A reddish object on a greyish table, with noise."""
    colours = np.where(mask[..., None], (180, 60, 50), (120, 120, 110))
    noise = np.random.default_rng(seed).normal(0, 6, colours.shape)
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


class TwoTries:
    """Gives `first` for prompts without negative points and `second` for those with; notes all prompts."""

    name = "two tries"
    needs_boxes = False

    def __init__(self, first: ScoredMask, second: ScoredMask) -> None:
        self.first, self.second = first, second
        self.prompts: list[list[Grounding]] = []
        self.encoded = 0

    def encode(self, rgb: np.ndarray) -> Features:
        self.encoded += 1
        return Features("the features", SIZE_WH)

    def decode(self, features: Features, groundings: Sequence[Grounding]) -> list[ScoredMask]:
        assert features.data == "the features"
        self.prompts.append(list(groundings))
        return [self.second if 0 in g.point_labels else self.first for g in groundings]


def refined(segmenter: TwoTries, groundings: Sequence[Grounding], *steps: str) -> list[ScoredMask]:
    wrapped = RefinedSegmenter(segmenter, steps)
    return wrapped.decode(wrapped.encode(np.zeros((120, 160, 3), np.uint8)), groundings)


OBJECT = rectangle(40, 30, 80, 70)
LEAKED = OBJECT | rectangle(100, 40, 130, 70)
BOXED = Grounding([40, 30, 80, 70], [[60, 50]])


def test_without_steps_masks_pass_unchanged() -> None:
    inner = ScriptedSegmenter()
    wrapped = RefinedSegmenter(inner, ())
    rgb = picture(OBJECT)
    (direct,), (passed,) = inner.decode(inner.encode(rgb), [BOXED]), wrapped.decode(wrapped.encode(rgb), [BOXED])
    np.testing.assert_array_equal(passed.mask, direct.mask)
    assert wrapped.name == inner.name and wrapped.encode(rgb).size_wh == SIZE_WH


def test_an_empty_list_of_groundings_stays_empty() -> None:
    wrapped = RefinedSegmenter(ScriptedSegmenter(), STEPS)
    assert wrapped.decode(wrapped.encode(picture(OBJECT)), []) == []


def test_stray_parts_are_prompted_away_on_the_same_features() -> None:
    segmenter = TwoTries(ScoredMask(LEAKED, 0.9), ScoredMask(OBJECT, 0.85))
    (mask,) = refined(segmenter, [BOXED], "points")
    np.testing.assert_array_equal(mask.mask, OBJECT)
    assert segmenter.encoded == 1
    _, (again,) = segmenter.prompts
    assert again.point_labels.tolist() == [1, 0] and again.box_xyxy.tolist() == BOXED.box_xyxy.tolist()
    x, y = again.points_xy[1].astype(int)
    assert LEAKED[y, x] and not OBJECT[y, x]


@pytest.mark.parametrize(
    "second",
    [
        ScoredMask(OBJECT, 0.2),  # the segmenter is not sure of it
        ScoredMask(OBJECT & ~rectangle(55, 45, 65, 55), 0.95),  # it lost the point
        ScoredMask(rectangle(0, 0, 160, 120), 0.95),  # it agrees less with the box
        ScoredMask(np.zeros_like(OBJECT), 1.0),
    ],
)
def test_a_second_try_that_is_not_better_is_dropped(second: ScoredMask) -> None:
    segmenter = TwoTries(ScoredMask(LEAKED, 0.9), second)
    (mask,) = refined(segmenter, [BOXED], "points")
    np.testing.assert_array_equal(mask.mask, LEAKED)
    assert mask.score == 0.9


def test_only_groundings_with_stray_parts_are_prompted_again() -> None:
    everywhere = Grounding([0, 0, 160, 120])
    segmenter = TwoTries(ScoredMask(LEAKED, 0.9), ScoredMask(OBJECT, 0.9))
    first, second = refined(segmenter, [everywhere, BOXED], "points")
    assert [len(prompts) for prompts in segmenter.prompts] == [2, 1]
    np.testing.assert_array_equal(first.mask, LEAKED)
    np.testing.assert_array_equal(second.mask, OBJECT)


def test_a_mask_inside_its_box_is_not_prompted_again() -> None:
    segmenter = TwoTries(ScoredMask(OBJECT, 0.9), ScoredMask(LEAKED, 1.0))
    refined(segmenter, [Grounding([42, 32, 78, 68])], "points")  # two pixels over the box are within the margin
    assert len(segmenter.prompts) == 1


def test_the_largest_stray_parts_get_the_points() -> None:
    mask = OBJECT | rectangle(0, 0, 10, 10) | rectangle(0, 80, 30, 110) | rectangle(100, 0, 120, 20)
    mask |= rectangle(100, 60, 115, 75) | rectangle(150, 110, 151, 111)
    points = negative_points(mask, BOXED).astype(int)
    assert points.shape == (3, 2)
    parts = [rectangle(0, 80, 30, 110), rectangle(100, 0, 120, 20), rectangle(100, 60, 115, 75)]
    assert all(part[y, x] for part, (x, y) in zip(parts, points, strict=True))


def test_a_part_with_a_positive_point_is_not_stray() -> None:
    assert not len(negative_points(LEAKED, Grounding([40, 30, 80, 70], [[60, 50], [110, 50]])))


def test_without_a_box_fragments_without_points_are_stray() -> None:
    pointed = Grounding([59, 49, 61, 51], [[60, 50]], has_box=False)
    ((x, y),) = negative_points(LEAKED, pointed).astype(int)
    assert x >= 100 and LEAKED[y, x]
    assert not len(negative_points(LEAKED, Grounding([59, 49, 61, 51], has_box=False)))


def test_an_empty_mask_and_a_box_outside_the_image_are_taken() -> None:
    assert not len(negative_points(np.zeros_like(OBJECT), BOXED))
    assert len(negative_points(OBJECT, Grounding([-50, -50, -10, -10]))) == 1


@pytest.mark.parametrize("offset_px", [(2, 0), (0, -2), (2, 2)])
def test_a_mask_that_is_a_little_off_moves_to_the_edges(offset_px: tuple[int, int]) -> None:
    raw = np.roll(OBJECT, offset_px, axis=(1, 0))
    snapped = snap_to_edges(picture(OBJECT), raw)
    assert mask_iou(snapped, OBJECT) > max(0.95, mask_iou(raw, OBJECT))


def test_far_edges_do_not_attract_the_outline() -> None:
    """Only a narrow band may change: a large object around a small mask does not swallow it."""
    small = rectangle(50, 40, 70, 60)
    snapped = snap_to_edges(picture(OBJECT), small)
    assert not snapped[30:35, 40:45].any()
    assert snapped[46:54, 56:64].all()


@pytest.mark.parametrize(
    "mask", [np.zeros_like(OBJECT), np.ones_like(OBJECT), rectangle(5, 5, 7, 100), rectangle(0, 0, 1, 1)]
)
def test_masks_without_a_core_or_an_outside_stay(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(snap_to_edges(picture(OBJECT), mask), mask)


def test_a_mask_at_the_border_of_the_image_keeps_the_border() -> None:
    corner = rectangle(0, 0, 50, 50)
    assert mask_iou(snap_to_edges(picture(corner), corner), corner) > 0.97


def test_the_outline_is_that_of_grabcut_on_every_pixel() -> None:
    """Colours come from samples, and the graph from the band's surroundings. OpenCV's own call takes all of both."""
    circle = cv2.circle(np.zeros((480, 640), np.uint8), (300, 220), 120, 1, -1).astype(bool)
    rgb = picture(circle)
    raw = np.roll(circle, (3, -3), axis=(0, 1))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
    band = cv2.dilate(raw.astype(np.uint8), disc) - cv2.erode(raw.astype(np.uint8), disc)
    labels = raw + 2 * band  # GC_PR_BGD and GC_PR_FGD in the band
    cv2.setRNGSeed(0)
    cv2.grabCut(rgb, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
    whole = labels % 2 == 1
    snapped = snap_to_edges(rgb, raw)
    assert mask_iou(whole, circle) > 0.99 > mask_iou(raw, circle)
    assert mask_iou(snapped, whole) > 0.995
    np.testing.assert_array_equal(snapped[band == 0], raw[band == 0])


def test_edges_step_snaps_every_mask() -> None:
    rgb = picture(OBJECT)
    wrapped = RefinedSegmenter(ScriptedSegmenter("box", 0.7), ("edges",))
    (mask,) = wrapped.decode(wrapped.encode(rgb), [Grounding([42, 30, 82, 70])])
    assert mask.score == 0.7
    assert mask_iou(mask.mask, OBJECT) > mask_iou(rectangle(42, 30, 82, 70), OBJECT)


def test_large_images_are_worked_on_at_a_smaller_scale() -> None:
    big = np.kron(OBJECT, np.ones((12, 12), bool))
    raw = np.roll(big, (5, 5), axis=(0, 1))
    assert mask_iou(snap_to_edges(picture(big), raw), big) > max(0.97, mask_iou(raw, big))


@pytest.mark.parametrize(
    ("setting", "card", "wraps"), [("auto", "edges", True), ("auto", "none", False), ("none", "edges", False),
                                   ("both", "none", True)],
)  # fmt: skip
def test_the_setting_goes_before_the_card(
    checkpoint: Path, tmp_path: Path, setting: str, card: str, wraps: bool
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(f"kind: segmenter\nsource: {checkpoint}\nrefine: {card}\n")
    segmenter = load_segmenter(SegmenterConfig(model=str(path), device="cpu", refine=setting))
    assert isinstance(segmenter, RefinedSegmenter) is wraps
    assert segmenter.name == "small"


def test_a_real_segmenter_is_refined_and_decodes_twice_on_the_same_features(checkpoint: Path) -> None:
    segmenter = load_segmenter(SegmenterConfig(model=str(checkpoint), device="cpu", refine="both"))
    masks = segmenter.decode(segmenter.encode(picture(OBJECT)), [BOXED, Grounding([90, 40, 100, 50])])
    assert [mask.mask.shape for mask in masks] == [(120, 160)] * 2
    assert all(mask.mask.dtype == bool for mask in masks)


class TwoTracks:
    """A tracker of two masks that never change."""

    def __init__(self, *masks: np.ndarray) -> None:
        self.tracks = [Track(index, mask, 0.9, "tracked", 1, 2) for index, mask in enumerate(masks, 1)]

    def add(
        self,
        features: Features,
        groundings: Sequence[Grounding],
        stamp_ns: int,
        masks: Sequence[BoolMask] | None = None,
    ) -> list[Track]:
        return self.tracks if masks is None else list(masks)

    def step(self, features: Features, stamp_ns: int) -> list[Track]:
        return self.tracks

    def remove(self, track_ids: Sequence[int]) -> None:
        del self.tracks[:]

    def reset(self) -> None:
        del self.tracks[:]


@pytest.mark.parametrize("overlap", [False, True])
def test_followed_masks_are_moved_to_edges_and_stay_apart(overlap: bool) -> None:
    rough = rectangle(41, 29, 81, 71)
    inner = TwoTracks(rough, rough)
    tracker = RefinedTracker(inner, lambda: overlap)
    features = Features((picture(OBJECT), Features(None, SIZE_WH)), SIZE_WH)
    for tracks in (tracker.add(features, [BOXED], 1), tracker.step(features, 2)):
        assert mask_iou(tracks[0].mask, OBJECT) > mask_iou(rough, OBJECT)
        assert tracks[1].mask.any() == overlap
        assert [(track.track_id, track.state, track.score) for track in tracks] == [
            (1, "tracked", 0.9),
            (2, "tracked", 0.9) if overlap else (2, "occluded", 0.0),
        ]
    assert np.array_equal(inner.tracks[0].mask, rough), "the inner tracker's own mask is not changed"
    tracker.remove([1])
    assert tracker.step(features, 3) == []

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.segmenter.port import ScoredMask
from reasonseg_ros.segmenter.regions import build_region, clean_mask, points_inside, without_empty
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Segmentation, Status


def drawing(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def block(height: int = 60, width: int = 80) -> np.ndarray:
    """A square of 1600 pixels in an image."""
    mask = np.zeros((height, width), bool)
    mask[10:50, 20:60] = True
    return mask


def test_a_sound_mask_is_left_as_it_is() -> None:
    clean = clean_mask(block(), 0.01, 0.01)
    assert (clean.holes, clean.fragments) == (0, 1)
    np.testing.assert_array_equal(clean.mask, block())


def test_small_holes_are_filled_and_large_ones_stay() -> None:
    raw = block()
    raw[20:23, 30:33] = False  # 9 of 1600 pixels
    raw[30:40, 40:50] = False  # 100 pixels
    clean = clean_mask(raw, 0.01, 0.01)
    assert (clean.holes, clean.fragments) == (2, 1)
    assert clean.mask[20:23, 30:33].all()
    assert not clean.mask[30:40, 40:50].any()


def test_specks_are_removed_and_large_fragments_stay() -> None:
    raw = block()
    raw[2:5, 2:5] = True
    raw[52:58, 60:70] = True
    clean = clean_mask(raw, 0.01, 0.01)
    assert clean.fragments == 3
    assert not clean.mask[2:5, 2:5].any()
    assert clean.mask[52:58, 60:70].all()


def test_a_hole_in_a_speck_goes_with_the_speck() -> None:
    raw = block()
    raw[1:4, 1:4] = True
    raw[2, 2] = False
    clean = clean_mask(raw, 0.01, 0.02)
    assert (clean.holes, clean.fragments) == (1, 2)
    np.testing.assert_array_equal(clean.mask, block())


def test_background_that_reaches_the_border_is_no_hole() -> None:
    raw = drawing("..#..", "..#..", "..#..")
    clean = clean_mask(raw, 1.0, 1.0)
    assert (clean.holes, clean.fragments) == (0, 1)
    np.testing.assert_array_equal(clean.mask, raw)


def test_holes_join_over_sides_and_fragments_over_corners() -> None:
    ring = drawing(".##.", "#..#", ".##.")
    assert (clean_mask(ring, 0.0, 0.0).holes, clean_mask(ring, 0.0, 0.0).fragments) == (1, 1)


def test_shares_of_zero_change_nothing() -> None:
    raw = np.random.default_rng(0).random((40, 50)) > 0.6
    np.testing.assert_array_equal(clean_mask(raw, 0.0, 0.0).mask, raw)


def test_the_largest_fragment_stays_whatever_the_share() -> None:
    raw = np.zeros((10, 20), bool)
    raw[1:4, 1:4] = raw[5:9, 10:14] = True
    np.testing.assert_array_equal(np.argwhere(clean_mask(raw, 0.0, 1.0).mask).min(0), [5, 10])


@settings(deadline=None)  # a busy machine is no failure
@given(arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))), st.floats(0, 1), st.floats(0, 1))
def test_clean_up_of_any_mask(raw: np.ndarray, fill: float, remove: float) -> None:
    before = raw.copy()
    clean = clean_mask(raw, fill, remove)
    np.testing.assert_array_equal(raw, before)
    assert clean.mask.shape == raw.shape
    assert clean.mask.any() == raw.any()
    assert (clean.fragments == 0) == (not raw.any())
    again = clean_mask(clean.mask, 0.0, 0.0)
    assert again.fragments <= clean.fragments


def test_an_empty_mask_keeps_the_groundings_box_and_agrees_with_nothing() -> None:
    grounding = Grounding([2, 3, 10, 12], [[5, 5]], label="mug")
    region = build_region(grounding, ScoredMask(np.zeros((20, 30), bool), 0.4), SegmenterConfig())
    np.testing.assert_array_equal(region.box_xyxy, grounding.box_xyxy)
    assert (region.box_iou, region.points_inside, region.holes, region.fragments) == (0.0, 0.0, 0, 0)
    assert (region.mask_score, region.label) == (0.4, "mug")


def test_a_region_says_how_far_it_agrees() -> None:
    grounding = Grounding([20, 10, 60, 90], [[25, 15], [70, 5], [21, 11]], [1, 1, 0])
    region = build_region(grounding, ScoredMask(block(), 0.8), SegmenterConfig())
    np.testing.assert_array_equal(region.box_xyxy, [20, 10, 60, 50])
    assert region.box_iou == pytest.approx(0.5)
    assert region.points_inside == 0.5  # the negative point does not count
    assert region.raw_mask is None


def test_the_raw_mask_is_kept_on_request() -> None:
    raw = block()
    raw[2:5, 2:5] = True
    region = build_region(Grounding([20, 10, 60, 50]), ScoredMask(raw, 0.8), SegmenterConfig(keep_raw_mask=True))
    np.testing.assert_array_equal(region.raw_mask, raw)
    np.testing.assert_array_equal(region.mask, block())
    np.testing.assert_array_equal(region.box_xyxy, [20, 10, 60, 50])


def test_points_outside_the_image_count_at_its_edge() -> None:
    mask = np.ones((10, 10), bool)
    assert points_inside(mask, Grounding([0, 0, 10, 10], [[10, 10], [-3, 4]])) == 1.0
    assert points_inside(mask, Grounding([0, 0, 10, 10])) == 1.0


def test_regions_without_a_pixel_are_left_out_with_their_reason() -> None:
    some, none = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    some[2:4, 2:4] = True
    grounding = Grounding([2, 2, 4, 4], label="mug")
    regions = {mask.any(): build_region(grounding, ScoredMask(mask, 0.5), SegmenterConfig()) for mask in (some, none)}
    full, empty = regions[True], regions[False]
    frame, answer = Frame(np.zeros((8, 8, 3), np.uint8)), Answer(Status.OK, groundings=(grounding, grounding))

    def reported(*regions: Region) -> Segmentation:
        return without_empty(Segmentation(frame, Query("a"), answer, regions))

    assert reported(full, full).regions == (full, full) and reported(full, full).answer.error == ""
    one = reported(empty, full)
    assert (one.status, one.regions) == (Status.OK, (full,))
    assert one.answer.error == "target 1 (mug) is left out, as its mask is empty"
    followed_one = reported(full, replace(empty, track_id=7, track_state="occluded"))
    assert followed_one.answer.error == "target 2 (mug), track 7, is occluded"
    for nothing in (reported(empty, empty), reported()):
        assert (nothing.status, nothing.regions) == (Status.EMPTY_MASK, ())
        assert nothing.answer.error.startswith("no pixel of any target is marked")
        assert not nothing.mask.any()
    many = reported(*[empty] * 100, full)
    assert many.answer.error.count("left out") == 5 and many.answer.error.endswith("; and 95 more")

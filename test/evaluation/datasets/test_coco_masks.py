import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.coco_masks import rle_mask, segmentation_mask


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))))
def test_what_pycocotools_writes_is_read(mask):
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    size_wh = mask.shape[::-1]
    assert np.array_equal(rle_mask(runs, size_wh), mask)
    assert np.array_equal(rle_mask({**runs, "counts": runs["counts"].decode()}, size_wh), mask)


def test_long_runs_are_read():
    mask = np.zeros((700, 900), bool)
    mask[100:650, 200:850] = True
    assert np.array_equal(rle_mask(coco.encode(np.asfortranarray(mask.astype(np.uint8))), (900, 700)), mask)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=12), st.binary(max_size=12), st.lists(st.integers(-9, 2**70), max_size=5)))
def test_damaged_run_lengths_are_refused_or_fill_the_image(counts):
    try:
        mask = rle_mask({"size": [5, 6], "counts": counts}, (6, 5))
    except InvalidInput:
        return
    assert mask.shape == (5, 6)


@pytest.mark.parametrize("counts", ["o" * 3_000_000, "~1" * 500_000, "11" * 500_000 + "o" * 3_000_000])
def test_long_damaged_texts_are_refused_in_time_in_proportion_to_their_length(counts):
    with pytest.raises(InvalidInput):
        rle_mask({"size": [5, 6], "counts": counts}, (6, 5))


@pytest.mark.parametrize(
    "segmentation", [None, [], "text", 5, [[]], [None], [["a", "b"]], [{}, {"size": 4}], [[1, 2], {}]]
)
def test_what_is_no_segmentation_is_refused(segmentation):
    with pytest.raises(InvalidInput):
        segmentation_mask(segmentation, (6, 5))


def test_polygons_with_two_points_are_left_out_by_name():
    with pytest.raises(InvalidInput, match="2 points enclose nothing"):
        segmentation_mask([[1, 1, 4, 3]], (6, 5))
    mask, (line,) = segmentation_mask([[1, 1, 4, 3], [0, 0, 3, 0, 3, 2, 0, 2]], (6, 5))
    assert mask[:2, :3].all() and mask.sum() == 6 and "polygon 1" in line

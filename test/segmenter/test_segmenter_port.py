"""What every segmenter promises."""

import numpy as np
import pytest
import torch

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.geometry import mask_iou, resize_logits
from reasonseg_ros.segmenter.kept_features import KeptFeatures
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.segmenter.refinement import STEPS, RefinedSegmenter
from reasonseg_ros.segmenter.sam2 import Sam2Segmenter, load_sam2
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Grounding
from test.ports import check_members

SIZES_WH = ((160, 120), (90, 140), (33, 21))
LEAST_IOU = 0.999


def torch_segmenter(checkpoint):
    model = load_sam2(str(checkpoint), device=torch.device("cpu"), dtype=torch.float32, offline=True)
    return Sam2Segmenter(model, multimask=False, name="random")


MAKERS = {
    "scripted ellipse": lambda _: ScriptedSegmenter(),
    "scripted box": lambda _: ScriptedSegmenter("box"),
    "torch": torch_segmenter,
    "exported": lambda _: load_segmenter(SegmenterConfig(device="cpu", refine="none", threads=1)),
    "kept": lambda _: KeptFeatures(ScriptedSegmenter("box"), 2),
    "refined": lambda checkpoint: RefinedSegmenter(torch_segmenter(checkpoint), STEPS),
}


@pytest.fixture(scope="module", params=MAKERS)
def segmenter(request, checkpoint):
    return MAKERS[request.param](checkpoint)


def image(size_wh):
    width, height = size_wh
    rgb = np.random.default_rng(5).integers(0, 90, (height, width, 3), np.uint8)
    rgb[height // 4 : height // 2, width // 4 : width // 2] += 150
    return rgb


def groundings(size_wh):
    width, height = size_wh
    return [
        Grounding([width / 4, height / 4, width / 2, height / 2]),
        Grounding([width / 8, height / 8, width * 0.7, height * 0.8], [[width * 0.3, height * 0.3]]),
        Grounding([2, 2, width * 0.9, height * 0.6], [[width * 0.3, height * 0.3], [width * 0.8, 5]], [1, 0]),
        Grounding([-5, -5, width * 1.2, height * 0.5]),
    ]


def test_it_has_the_members_of_the_port(segmenter):
    check_members(Segmenter, segmenter)
    assert segmenter.name and isinstance(segmenter.name, str) and isinstance(segmenter.needs_boxes, bool)


@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_there_is_one_mask_of_the_images_size_for_each_grounding(segmenter, size_wh):
    rgb = image(size_wh)
    before = rgb.copy()
    features = segmenter.encode(rgb)
    assert features.size_wh == size_wh
    found = segmenter.decode(features, groundings(size_wh))
    assert len(found) == 4
    for one in found:
        assert (one.mask.dtype, one.mask.shape) == (bool, size_wh[::-1])
        assert 0 <= one.score <= 1 and isinstance(one.score, float)
    np.testing.assert_array_equal(rgb, before)


def test_a_batch_gives_the_masks_of_one_by_one_in_its_order(segmenter):
    features = segmenter.encode(image(SIZES_WH[0]))
    together = segmenter.decode(features, groundings(SIZES_WH[0]))
    for grounding, batched in zip(groundings(SIZES_WH[0]), together, strict=True):
        (alone,) = segmenter.decode(features, [grounding])
        assert mask_iou(batched.mask, alone.mask) >= LEAST_IOU or not (batched.mask.any() or alone.mask.any())
        assert batched.score == pytest.approx(alone.score, abs=1e-3)


def test_no_groundings_are_no_masks(segmenter):
    assert list(segmenter.decode(segmenter.encode(image(SIZES_WH[0])), [])) == []


def test_features_stay_those_of_their_image(segmenter):
    first, second = image(SIZES_WH[0]), image(SIZES_WH[1])[::-1].copy()
    features = segmenter.encode(first)
    before = segmenter.decode(features, groundings(SIZES_WH[0]))
    segmenter.decode(segmenter.encode(second), groundings(SIZES_WH[1]))
    for one, again in zip(before, segmenter.decode(features, groundings(SIZES_WH[0])), strict=True):
        np.testing.assert_array_equal(one.mask, again.mask)


def test_masks_at_the_decoders_resolution_are_those_of_the_image(segmenter):
    features = segmenter.encode(image(SIZES_WH[0]))
    prompts = groundings(SIZES_WH[0])
    found = segmenter.decode_low_res(features, prompts)
    assert found.logits.dtype == found.scores.dtype == np.float32
    assert found.logits.ndim == 3 and len(found.logits) == len(found.scores) == len(prompts)
    if not isinstance(segmenter, RefinedSegmenter):  # refined masks differ on purpose
        for logits, score, whole in zip(found.logits, found.scores, segmenter.decode(features, prompts), strict=True):
            assert mask_iou(resize_logits(logits, SIZES_WH[0]), whole.mask) > 0.9
            assert score == pytest.approx(whole.score, abs=1e-6)
    assert segmenter.decode_low_res(features, []).logits.shape == (0, *found.logits.shape[1:])


def test_single_points_give_a_mask_each(segmenter):
    features = segmenter.encode(image(SIZES_WH[0]))
    found = segmenter.decode_points(features, np.array([[50.5, 40.5], [1.5, 2.5], [150.0, 100.0]], np.float32))
    assert found.logits.shape[0] == len(found.scores) == 3
    assert found.logits.shape[1:] == segmenter.decode_low_res(features, []).logits.shape[1:]
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


def test_the_feature_map_covers_the_image(segmenter):
    dark, lit = np.zeros((120, 160, 3), np.uint8), np.zeros((120, 160, 3), np.uint8)
    lit[:60, 80:] = 220
    maps = [segmenter.feature_map(segmenter.encode(rgb)) for rgb in (dark, lit)]
    assert maps[0].dtype == np.float32 and maps[0].shape == maps[1].shape and maps[0].ndim == 3
    change = np.abs(maps[1] - maps[0]).mean(-1)
    height, width = change.shape
    quarters = {
        (low, right): change[rows, columns].mean()
        for low, rows in enumerate((slice(0, height // 2), slice(height // 2, None)))
        for right, columns in enumerate((slice(0, width // 2), slice(width // 2, None)))
    }
    assert max(quarters, key=quarters.__getitem__) == (0, 1)  # where the light is

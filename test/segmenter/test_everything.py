"""Everything mode: its steps against other libraries, and the whole on drawn scenes and on the embedded segmenter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from scipy import ndimage
from torchvision.ops import nms
from transformers.models.sam2.image_processing_sam2 import _compute_stability_score

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.documents import read_yaml_document
from reasonseg_ros.files.resources import resource
from reasonseg_ros.geometry import box_iou, mask_iou
from reasonseg_ros.images.files import read_image
from reasonseg_ros.segmenter.everything import (
    FROM_BOXES,
    Everything,
    EverythingOptions,
    largest_first,
    largest_parts,
    mask_ious,
    point_grid,
    stability_scores,
    suppressed,
)
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

BOXES_XYXY = ((10, 10, 60, 50), (100, 20, 130, 90), (20, 70, 50, 100))
LOOSE = EverythingOptions(grid_wh=(16, 12), min_stability=0.5, max_share=0.4)


def drawn_scene():
    """Rectangles of three colours on grey, and a second part of the first one's colour."""
    rgb = np.full((120, 160, 3), 90, np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(BOXES_XYXY):
        rgb[y1:y2, x1:x2] = (250 - 60 * index, 30 + 90 * index, 40)
    rgb[100:110, 140:150] = rgb[20, 20]
    return rgb


def smooth_logits(count, size=48):
    noise = np.random.default_rng(1).normal(size=(count, size, size))
    return np.stack([ndimage.gaussian_filter(one, 3) * 30 for one in noise]).astype(np.float32)


def test_points_are_the_centres_of_even_cells():
    points_xy = point_grid((4, 2), (80, 60))
    assert points_xy.tolist() == [[10, 15], [30, 15], [50, 15], [70, 15], [10, 45], [30, 45], [50, 45], [70, 45]]


@pytest.mark.parametrize("offset", [1, 2])
def test_stability_is_that_of_transformers(offset):
    logits = smooth_logits(20)
    expected = _compute_stability_score(torch.from_numpy(logits), 0, offset).numpy()
    np.testing.assert_allclose(stability_scores(logits, offset), expected, rtol=1e-6)
    assert stability_scores(np.full((1, 4, 4), -9, np.float32), 1.0) == 0


def test_ious_are_those_of_pycocotools():
    masks = smooth_logits(12) > 0
    coded = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    expected = coco.iou(coded[:7], coded, [False] * 12)
    np.testing.assert_allclose(mask_ious(masks[:7], masks), expected, atol=1e-6)
    assert mask_ious(masks[:0], masks).shape == (0, 12)


def test_suppression_is_torchvisions_for_rectangles():
    rng = np.random.default_rng(2)
    boxes = np.concatenate([corner := rng.integers(0, 30, (60, 2)), corner + rng.integers(8, 30, (60, 2))], 1)
    masks = np.zeros((60, 64, 64), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    ranks = rng.permutation(60).astype(np.float32) / 60
    expected = nms(torch.from_numpy(boxes).float(), torch.from_numpy(ranks), 0.5)
    assert 5 < len(expected) < 55
    assert suppressed(masks, ranks, 0.5).tolist() == expected.tolist()
    assert suppressed(masks[:0], ranks[:0], 0.5).tolist() == []


def test_the_largest_part_is_scipys():
    logits = smooth_logits(15)
    for before, after in zip(logits, largest_parts(logits), strict=True):
        labels, count = ndimage.label(before > 0, np.ones((3, 3)))
        areas = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
        assert count > 1
        np.testing.assert_array_equal(after > 0, labels == 1 + areas.argmax())
        np.testing.assert_array_equal(after[before <= 0], before[before <= 0])


def test_the_largest_come_first_and_no_more_than_asked_for():
    masks = np.zeros((4, 8, 8), bool)
    for index, side in enumerate((3, 7, 1, 5)):
        masks[index, :side, :side] = True
    assert largest_first(masks, 3).tolist() == [1, 3, 0]


@pytest.mark.parametrize("from_boxes", [False, True])
def test_each_thing_is_proposed_once(from_boxes):
    segmenter, rgb = ScriptedSegmenter("box"), drawn_scene()
    options = EverythingOptions(grid_wh=(16, 12), min_stability=0.5, max_share=0.4, from_boxes=from_boxes)
    features = segmenter.encode(rgb)
    everything = Everything(segmenter, options)
    proposals = everything.propose(features)
    truths = np.zeros((3, 120, 160), bool)
    for truth, (x1, y1, x2, y2) in zip(truths, BOXES_XYXY, strict=True):
        truth[y1:y2, x1:x2] = True
    masks = [mask.mask for mask in everything.full_masks(features, proposals, np.arange(len(proposals)))]
    # By points the first colour is one thing in two parts; from boxes its parts are two.
    assert len(proposals) == 3
    for index, (mask, point_xy) in enumerate(zip(masks, proposals.points_xy, strict=True)):
        best = max(mask_iou(mask, truth) for truth in truths)
        assert best > 0.9
        assert mask_iou(proposals.mask(index), mask) > 0.9
        x, y = point_xy.astype(int)
        assert mask[y, x] or not from_boxes
    areas = [mask.sum() for mask in masks]
    assert areas == sorted(areas, reverse=True)


def test_of_an_even_picture_nothing_is_left():
    segmenter = ScriptedSegmenter()
    proposals = Everything(segmenter, LOOSE).propose(segmenter.encode(np.full((30, 40, 3), 7, np.uint8)))
    assert len(proposals) == 0 and proposals.low_res.shape == (0, 128, 128)


def test_progress_counts_the_points_and_may_end_the_run():
    segmenter, calls = ScriptedSegmenter(), []
    features = segmenter.encode(drawn_scene())
    Everything(segmenter, LOOSE).propose(features, lambda asked, of: calls.append((asked, of)))
    assert calls == [(0, 192), (64, 192), (128, 192), (192, 192)]

    def stop(asked, of):
        if asked == 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Everything(segmenter, LOOSE).propose(features, stop)


@pytest.mark.parametrize("grid_wh", [(0, 4), (200, 200)])
def test_a_grid_without_points_or_with_far_too_many_is_refused(grid_wh):
    with pytest.raises(InvalidInput, match="grid"):
        Everything(ScriptedSegmenter(), grid_wh=grid_wh)


def test_the_embedded_segmenter_finds_what_questions_are_about():
    """From points alone its decoder reaches an IoU of 0.22; its graph for points and its boxes find the objects."""
    document = read_yaml_document(resource("models/tabletop/known_picture.yaml"))
    rgb = read_image(resource("models/tabletop") / document["image"])
    segmenter = load_segmenter(SegmenterConfig(device="cpu", refine="none", threads=1))
    everything = Everything(segmenter)
    assert everything.options == FROM_BOXES
    proposals = everything.propose(segmenter.encode(rgb))
    assert 3 <= len(proposals) <= 32
    found = [proposals.box_xyxy(index) for index in range(len(proposals))]
    for target in document["targets"]:
        assert max(box_iou(box, target["box_xyxy"]) for box in found) > 0.6, target

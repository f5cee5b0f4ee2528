"""Mask pooling, geometry and attention against plain loops."""

from __future__ import annotations

import cv2
import numpy as np

from reasonseg_ros.segmenter.everything import Proposals
from reasonseg_ros.selection.embeddings import (
    GEOMETRY,
    attended,
    attention_maps,
    embed_masks,
    geometry,
    mask_pool,
    soft_masks,
)


def proposals():
    logits = np.full((2, 32, 32), -6, np.float32)
    logits[0, 8:16, 4:12], logits[1, 20:30, 16:32] = 6, 0.5
    points_xy = np.array([[30, 40], [90, 90]], np.float32)
    scores, stabilities = np.array([0.9, 0.4], np.float32), np.array([1.0, 0.5], np.float32)
    return Proposals(logits, scores, stabilities, points_xy, (128, 96))


def test_pooling_is_the_mean_over_the_mask():
    shares = soft_masks(proposals().logits)
    feature_map = np.random.default_rng(0).normal(size=(16, 16, 5)).astype(np.float32)
    pooled = mask_pool(feature_map, shares)
    for one, share in zip(pooled, shares, strict=True):
        weights = cv2.resize(share, (16, 16), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(one, np.average(feature_map.reshape(-1, 5), 0, weights.ravel()), rtol=1e-4)
    even = np.full((16, 16, 3), 0.25, np.float32)
    np.testing.assert_allclose(mask_pool(even, shares), 0.25, rtol=1e-5)


def test_geometry_is_in_shares_of_the_image():
    first, second = geometry(proposals())
    np.testing.assert_allclose(first[:4], [4 / 32, 8 / 32, 12 / 32, 16 / 32])
    np.testing.assert_allclose(first[4:9], [8 / 32, 12 / 32, 8 / 32, 8 / 32, 8 / 32])
    np.testing.assert_allclose(first[9:], [0.9, 1.0])
    np.testing.assert_allclose(second[:4], [0.5, 20 / 32, 1.0, 30 / 32])


def test_a_masks_vector_holds_all_parts_and_its_colour():
    rgb = np.zeros((96, 128, 3), np.uint8)
    rgb[24:48, 16:48] = (255, 0, 51)  # the first mask
    feature_map, seen = np.ones((8, 8, 7), np.float32), np.full((3, 4, 9), 2, np.float32)
    found = embed_masks(proposals(), feature_map, seen, rgb)
    assert found.dtype == np.float32 and found.shape == (2, 7 + 9 + 6 + GEOMETRY)
    np.testing.assert_allclose(found[0, 16:19], [1, 0, 0.2], atol=0.01)
    np.testing.assert_allclose(found[1, 16:19], 0, atol=0.01)
    np.testing.assert_allclose(found[0, 19:22], 0, atol=0.05)  # one colour: no spread


def test_attention_is_reduced_to_the_last_token_the_mean_and_the_maximum_of_the_thought():
    attention = np.zeros((4, 1, 2), np.float32)
    attention[0], attention[1], attention[2], attention[3] = 9, [[1, 2]], [[4, 0]], [[1, 1]]  # the first: of the prompt
    np.testing.assert_allclose(attention_maps(attention)[:, 0], [[1, 1], [2, 1], [4, 2]])
    long = np.concatenate([np.full((9, 1, 2), 5), np.ones((32, 1, 2))]).astype(np.float32)
    np.testing.assert_allclose(attention_maps(long), 1)


def test_attention_inside_a_mask_as_density_and_as_sum():
    maps = np.random.default_rng(1).uniform(0, 1, (3, 4, 8)).astype(np.float32)
    masks = np.zeros((3, 16, 32), bool)
    masks[0, 4:8, 8:24] = True  # row 1, columns 2 to 5 of the maps
    masks[1] = True
    masks[2, :2, :2] = True  # a quarter of the first place
    found = attended(masks, maps)
    np.testing.assert_allclose(found[0, 3:], maps[:, 1, 2:6].sum(1), rtol=1e-5)
    np.testing.assert_allclose(found[0, :3], np.log1p(32 * maps[:, 1, 2:6].mean(1)), rtol=1e-5)
    np.testing.assert_allclose(found[1], [*np.log1p(maps.sum((1, 2))), *maps.sum((1, 2))], rtol=1e-5)
    np.testing.assert_allclose(found[2], [*np.log1p(32 * maps[:, 0, 0]), *maps[:, 0, 0] / 4], rtol=1e-5)
    assert attended(masks[:0], maps).shape == (0, 6)

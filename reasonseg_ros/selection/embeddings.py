"""A vector for each proposed mask: pooled features of segmenter and reasoner, colours, geometry and attention.

Source of the mask pooling: Wang and Ke, "LLM-Seg: Bridging Image Segmentation and Large Language Model Reasoning",
2024, arXiv:2404.08767, which pools DINOv2's features. Here the segmenter's feature map and the reasoner's image tokens
are pooled, because both are already available. The geometry is added because a pooled mean has no position. The
attention is added because it says where the reasoner looked while it wrote its thought.
"""

from __future__ import annotations

import cv2
import numpy as np

from reasonseg_ros.segmenter.everything import Proposals
from reasonseg_ros.types import BoolMask, FloatArray, RgbImage

GEOMETRY = 11
ATTENTION_MAPS = 3
MOST_TOKENS = 32
"""Maximum number of tokens of a thought, counted from its end, whose attention is used."""


def embed_masks(proposals: Proposals, feature_map: FloatArray, image_features: FloatArray, rgb: RgbImage) -> FloatArray:
    """float32 [K, C + D + 6 + GEOMETRY] of K proposals on uint8 [H, W, 3].

    Args:
        feature_map: feature map of the segmenter, [h, w, C].
        image_features: image tokens of the reasoner, [rows, columns, D].
    """
    height, width = proposals.logits.shape[1:]
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    shares = soft_masks(proposals.logits)
    mean = mask_pool(small, shares)
    spread = np.sqrt(np.maximum(mask_pool(small * small, shares) - mean * mean, 0))
    parts = (mask_pool(feature_map, shares), mask_pool(image_features, shares), mean, spread, geometry(proposals))
    return np.concatenate(parts, 1).astype(np.float32)


def soft_masks(logits: FloatArray) -> FloatArray:
    """Probabilities from logits [K, h, w] inside the masks, 0 outside."""
    shares: FloatArray = ((logits > 0) / (1 + np.exp(-np.clip(logits, -20, 20)))).astype(np.float32)
    return shares


def mask_pool(feature_map: FloatArray, shares: FloatArray) -> FloatArray:
    """Mean of a map [h, w, C] over each of the soft masks [K, h', w'], resized to its size. float32 [K, C]."""
    height, width, channels = feature_map.shape
    weights = _resized(shares, (width, height))
    total = np.maximum(weights.sum(1, keepdims=True), 1e-6)
    pooled: FloatArray = weights @ feature_map.reshape(-1, channels).astype(np.float32) / total
    return pooled


def _resized(shares: FloatArray, size_wh: tuple[int, int]) -> FloatArray:
    """Masks [K, h', w'] as weights of the places of a map of this size, float32 [K, h * w]."""
    weights = [cv2.resize(one, size_wh, interpolation=cv2.INTER_AREA).ravel() for one in shares]
    return np.array(weights, np.float32).reshape(len(shares), size_wh[0] * size_wh[1])


def geometry(proposals: Proposals) -> FloatArray:
    """Box, centroid and size as shares of the image, root of the area, score and stability. float32 [K, GEOMETRY]."""
    masks = proposals.low_res
    height, width = masks.shape[1:]
    rows, columns = np.mgrid[:height, :width] + 0.5
    found = np.zeros((len(masks), GEOMETRY), np.float32)
    image_wh = np.array(proposals.size_wh * 2, np.float32)
    for index, mask in enumerate(masks):
        x1, y1, x2, y2 = proposals.box_xyxy(index) / image_wh
        x, y = columns[mask].mean() / width, rows[mask].mean() / height
        size = np.sqrt(mask.mean())
        found[index, :9] = (x1, y1, x2, y2, x, y, x2 - x1, y2 - y1, size)
    found[:, 9], found[:, 10] = proposals.scores, proposals.stabilities
    return found


def attention_maps(attention: FloatArray) -> FloatArray:
    """Attention of a thought's last token, and mean and maximum over its tokens: float32 [ATTENTION_MAPS, h, w].

    Args:
        attention: of the prompt's last token and of each token of the thought, [T, h, w] (`Thought.attention`).
    """
    tokens = attention[1:][-MOST_TOKENS:]
    maps: FloatArray = np.stack([tokens[-1], tokens.mean(0), tokens.max(0)]).astype(np.float32)
    return maps


def attended(masks: BoolMask, maps: FloatArray) -> FloatArray:
    """How much a thought attends to each of the masks [K, h', w'], from maps [M, h, w]. float32 [K, 2 * M].

    First the logarithm of one plus the mean inside the mask times the number of image tokens, then the sum inside it.
    """
    _, height, width = maps.shape
    weights = _resized(masks.astype(np.float32), (width, height))
    inside = weights @ maps.reshape(len(maps), -1).T
    means = inside / np.maximum(weights.sum(1, keepdims=True), 1e-3)
    found: FloatArray = np.concatenate([np.log1p(means * np.float32(height * width)), inside], 1)
    return found

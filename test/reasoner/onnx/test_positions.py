"""Rotary positions and windows against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.reasoner.onnx.manifest import TextShape, VisionShape
from reasonseg_ros.reasoner.onnx.positions import patch_rotation, text_rotation, token_positions, window_mask

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
IMAGE, START = 90, 88
GRIDS = [(2, 3), (4, 1)]


def model(**vision):
    text = {
        "vocab_size": 100, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 1,
        "num_attention_heads": 3, "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]},
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 48, **vision}
    tokens = {"image_token_id": IMAGE, "vision_start_token_id": START, "video_token_id": 91}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def test_tokens_have_transformers_positions():
    ids = [1, 2, START, *[IMAGE] * 6, 89, 5, START, *[IMAGE] * 4, 89, 7, 8]
    grid_thw = torch.tensor([[1, 2 * rows, 2 * columns] for rows, columns in GRIDS])
    tokens = torch.tensor([ids])
    expected, _ = model().model.get_rope_index(
        tokens, mm_token_type_ids=(tokens == IMAGE).int(), image_grid_thw=grid_thw
    )
    found = token_positions(ids, IMAGE, GRIDS, len(ids) + 3)
    np.testing.assert_array_equal(found[:, : len(ids)], expected[:, 0].numpy())
    np.testing.assert_array_equal(found[:, len(ids) :], found[:, [len(ids) - 1]] + [[1, 2, 3]] * 3)


def test_rotations_of_the_text_are_transformers():
    ids = [1, START, *[IMAGE] * 6, 89, 5]
    positions = token_positions(ids, IMAGE, GRIDS[:1], len(ids))
    shape = TextShape(1, 1, 16, 48, 100, 100.0, (2, 3, 3), 1000)
    cos, sin = text_rotation(positions, shape)
    rotary = model().model.language_model.rotary_emb
    expected = rotary(torch.zeros(1, len(ids), 48), torch.tensor(positions)[:, None])
    axes = [0, 0, 1, 1, 1, 2, 2, 2]
    for found, wanted in zip((cos, sin), expected, strict=True):
        if wanted.ndim == 4:  # time, height and width one after the other; a pair of a head is turned by one of them
            wanted = torch.stack([wanted[axis, 0, :, pair] for pair, axis in enumerate(axes)], -1)[None]
        np.testing.assert_allclose(found, wanted[0, :, :8].numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rows", "columns", "window_px"), [(4, 6, 56), (6, 6, 56), (10, 4, 112), (2, 2, 112)])
def test_patches_and_windows_are_transformers(rows, columns, window_px):
    vision = model(window_size=window_px).model.visual
    shape = VisionShape(16, 14, 2, window_px, (0.0,) * 3, (1.0,) * 3)
    cos, sin = patch_rotation(rows, columns, shape)
    assert cos.shape == (rows * columns, 8)
    np.testing.assert_allclose(cos**2 + sin**2, 1.0, atol=1e-6)
    mask = window_mask(rows, columns, shape)[0, 0]
    together = {frozenset(np.flatnonzero(row == 0)) for row in mask}
    side = window_px // 14 // 2
    tokens = np.arange(rows * columns // 4).reshape(rows // 2, columns // 2)
    windows = [
        tokens[top : top + side, left : left + side].reshape(-1)
        for top in range(0, rows // 2, side)
        for left in range(0, columns // 2, side)
    ]
    expected = {frozenset(4 * token + part for token in window for part in range(4)) for window in windows}
    assert together == expected and vision.config.window_size == window_px

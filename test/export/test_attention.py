"""Attention that projects the tokens, against the one that projects the pixels."""

from __future__ import annotations

import pytest
import torch
from transformers import Sam2MaskDecoderConfig
from transformers.models.sam2.modeling_sam2 import Sam2Attention

from reasonseg_ros.export.attention import IGNORED, attend, read_pixels, write_pixels
from test.export.conftest import randomize

OBJECTS, PIXELS, CHANNELS = 2, 36, 64


@pytest.fixture(scope="module")
def layer() -> Sam2Attention:
    layer = Sam2Attention(Sam2MaskDecoderConfig(hidden_size=CHANNELS, num_attention_heads=4))
    randomize(layer, 3)
    return layer.eval().requires_grad_(False)


@pytest.mark.parametrize("tokens", [1, 9, 40])
def test_it_is_the_same_however_many_tokens_there_are(layer: Sam2Attention, tokens: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    few, placed = torch.randn(2, OBJECTS, tokens, CHANNELS, generator=generator)
    pixels, keys = torch.randn(2, OBJECTS, PIXELS, CHANNELS, generator=generator)
    bias = torch.zeros(OBJECTS, 1, 1, tokens)
    bias[1, ..., tokens // 2 :] = IGNORED if tokens > 1 else 0
    torch.testing.assert_close(read_pixels(layer, few, keys, pixels), attend(layer, few, keys, pixels))
    written = write_pixels(layer, keys, placed, few, bias)
    torch.testing.assert_close(written, attend(layer, keys, placed, few, bias))
    assert float(written.std()) > 0.01

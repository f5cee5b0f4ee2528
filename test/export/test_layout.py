"""Where each pixel of the finer maps lies, and what is added on the way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import Sam2Model

from reasonseg_ros.export.layout import FeatureLayout, to_rows
from reasonseg_ros.training.segmenter.model import small_config
from test.export.conftest import randomize

SIDE = 4


def test_what_belongs_to_a_pixel_lies_together_and_goes_back_to_rows() -> None:
    model = Sam2Model(small_config(16 * SIDE)).eval()
    randomize(model, 6)
    channels, decoder = model.config.mask_decoder_config.hidden_size, model.mask_decoder
    pixels = torch.arange(16.0 * SIDE * SIDE).reshape(1, 1, 4 * SIDE, 4 * SIDE)
    coarse, finest, finer = FeatureLayout(model, torch.float32)(
        torch.zeros(1, channels, SIDE, SIDE),
        pixels.expand(-1, channels // 8, -1, -1),
        pixels[..., ::2, ::2].expand(-1, channels // 4, -1, -1),
    )
    torch.testing.assert_close(coarse, model.prompt_encoder.no_mask_embed.weight.expand(1, SIDE * SIDE, -1))
    finest = finest.unflatten(2, (4, -1)) - decoder.upscale_conv2.bias
    torch.testing.assert_close(to_rows(finest[..., 0].flatten(1), SIDE), pixels, rtol=0, atol=1e-3)
    finer = finer.unflatten(2, (4, -1)) - decoder.upscale_conv1.bias
    # Each pixel of the finer map is four of the finest, which follow it in the same order.
    first = finest[..., 0].reshape(1, SIDE * SIDE, 4, 4)[..., 0]
    torch.testing.assert_close(finer[..., 0], first, rtol=0, atol=1e-3)


def test_several_objects_go_back_to_rows_each_for_itself() -> None:
    masks = torch.randn(3, 1, 4 * SIDE, 4 * SIDE, generator=torch.Generator().manual_seed(0))
    # Taken apart from the inside out, so that the outer pixel comes last; in the layout it comes first.
    blocks = F.pixel_unshuffle(F.pixel_unshuffle(masks, 2), 2).permute(0, 2, 3, 1).unflatten(3, (4, 4)).transpose(3, 4)
    torch.testing.assert_close(to_rows(blocks.flatten(1), SIDE), masks, rtol=0, atol=0)

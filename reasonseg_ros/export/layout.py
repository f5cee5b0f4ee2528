"""Memory layout of features between the graphs: channels last, grouped by the pixels of the coarsest map.

Each coarse pixel is stored with its 2 x 2 pixels of the finer map, and each of these with 2 x 2 of the finest. So the
decoder upsamples by matrix products alone, and only the mask, one channel, is reordered into rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureLayout(nn.Module):
    """Converts the library's features to the decoder graph's inputs.

    Constants that the decoder would add for each object are added here once: the embedding of an absent mask prompt,
    and the biases of the two upsampling layers.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        decoder = model.mask_decoder
        self.register_buffer("no_mask", model.prompt_encoder.no_mask_embed.weight.detach().reshape(1, 1, -1).to(dtype))
        self.register_buffer("bias_0", decoder.upscale_conv2.bias.detach().tile(4).to(dtype))
        self.register_buffer("bias_1", decoder.upscale_conv1.bias.detach().tile(4).to(dtype))

    def forward(self, image_embed: Tensor, high_res_0: Tensor, high_res_1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[1, h*h, C], [1, 4*h*h, C/2], [1, h*h, C] from [1, C, h, h], [1, C/8, 4h, 4h], [1, C/4, 2h, 2h]."""
        side = image_embed.shape[-1]
        coarse = image_embed.flatten(2).transpose(1, 2) + self.no_mask
        finest = high_res_0.permute(0, 2, 3, 1).reshape(side, 2, 2, side, 2, 2, -1).permute(0, 3, 1, 4, 2, 5, 6)
        finer = high_res_1.permute(0, 2, 3, 1).reshape(side, 2, side, 2, -1).permute(0, 2, 1, 3, 4)
        return (
            coarse,
            finest.reshape(1, 4 * side * side, -1) + self.bias_0,
            finer.reshape(1, side * side, -1) + self.bias_1,
        )


def to_rows(blocks: Tensor, side: int) -> Tensor:
    """[N, 1, 4h, 4h] from the finest map's pixels in blocks, [N, 16*h*h]; `side` is h."""
    pixels = blocks.reshape(-1, side, side, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return pixels.reshape(-1, 1, 4 * side, 4 * side)

"""The graph from an image to its features."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonseg_ros.segmenter.sam2 import IMAGE_MEAN, IMAGE_STD


class Encoder(nn.Module):
    """uint8 [1, S, S, 3] to image_embed, high_res_0, high_res_1 and vision_feat in `dtype` (`engine.manifest`)."""

    def __init__(self, model: nn.Module, size_px: int, dtype: torch.dtype) -> None:
        super().__init__()
        vision = copy.deepcopy(model.vision_encoder).to(dtype)
        vision.set_attn_implementation("eager")
        self.backbone = vision.backbone
        self.lateral = vision.neck.convs
        self.top_down_levels = vision.neck.fpn_top_down_levels
        self.levels = vision.num_feature_levels
        self.to_high_res = nn.ModuleList(
            copy.deepcopy(layer).to(dtype) for layer in (model.mask_decoder.conv_s0, model.mask_decoder.conv_s1)
        )
        self.dtype = dtype
        self.is_hiera = hasattr(vision.backbone, "stage_ends")
        if self.is_hiera:
            # Hiera stretches a small map of positions to the image. Bicubic interpolation is a product with one matrix
            # from each side: engines compute it when they load, and the file does not hold the large map.
            side, background = size_px // 4, vision.backbone.pos_embed.shape[-1]
            stretch = F.interpolate(torch.eye(background)[None, None], (side, background), mode="bicubic")[0, 0]
            self.register_buffer("stretch", stretch.to(dtype))
            self.windows = side // vision.backbone.pos_embed_window.shape[-1]
        self.register_buffer("no_memory", model.no_memory_embedding.detach().reshape(1, -1, 1, 1).to(dtype))
        mean, std = (torch.from_numpy(values).reshape(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        self.register_buffer("gain", 1 / (255 * std))
        self.register_buffer("offset", -mean / std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # TensorRT takes uint8 only where a cast comes first.
        pixels = image.to(torch.float32).permute(0, 3, 1, 2) * self.gain + self.offset
        high_0, high_1, vision_feat = self._pyramid(self._stages(pixels.to(self.dtype)))
        high_0, high_1 = self.to_high_res[0](high_0), self.to_high_res[1](high_1)
        return vision_feat + self.no_memory, high_0, high_1, vision_feat

    def _stages(self, pixels: Tensor) -> list[Tensor]:
        """The backbone's feature maps, finest first, [1, channels, side, side]."""
        if not self.is_hiera:
            return list(self.backbone(pixels).last_hidden_state)
        positions = self.stretch @ self.backbone.pos_embed @ self.stretch.T
        positions = positions + self.backbone.pos_embed_window.repeat(1, 1, self.windows, self.windows)
        hidden = (self.backbone.patch_embed.projection(pixels) + positions).permute(0, 2, 3, 1)
        stages = []
        for index, block in enumerate(self.backbone.blocks):
            hidden = block(hidden)
            if index in self.backbone.stage_ends:
                stages.append(hidden.permute(0, 3, 1, 2))
        return stages

    def _pyramid(self, stages: list[Tensor]) -> list[Tensor]:
        """The feature pyramid's finest `levels` maps, finest first. The neck's own forward adds sine encodings."""
        maps: list[Tensor] = []
        for level in reversed(range(len(stages))):
            lateral = self.lateral[len(stages) - 1 - level](stages[level])
            if maps and level in self.top_down_levels:
                lateral = lateral + F.interpolate(maps[-1], scale_factor=2.0, mode="nearest")
            maps.append(lateral)
        return maps[: -self.levels - 1 : -1]

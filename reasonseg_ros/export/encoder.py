"""The encoder graph: from an image to its features."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonseg_ros.errors import ModelError
from reasonseg_ros.export.attention import split_heads, weigh
from reasonseg_ros.export.layout import FeatureLayout
from reasonseg_ros.segmenter.sam2 import IMAGE_MEAN, IMAGE_STD


class Encoder(nn.Module):
    """uint8 [1, S, S, 3] to image_embed, high_res_0, high_res_1 and vision_feat in `dtype` (`engine.manifest`)."""

    def __init__(self, model: nn.Module, size_px: int, dtype: torch.dtype) -> None:
        super().__init__()
        vision = copy.deepcopy(model.vision_encoder).to(dtype)
        self.backbone = vision.backbone
        self.lateral = vision.neck.convs
        self.top_down_levels = vision.neck.fpn_top_down_levels
        self.levels = vision.num_feature_levels
        if min(self.top_down_levels) < self.levels - 1:
            raise ModelError(f"a feature pyramid with connections from coarser to its finest levels "
                             f"({self.top_down_levels}); SAM2 and EdgeTAM have none")  # fmt: skip
        self.to_high_res = nn.ModuleList(
            _joined(self.lateral[-1 - level], layer).to(dtype)
            for level, layer in enumerate((model.mask_decoder.conv_s0, model.mask_decoder.conv_s1))
        )
        self.layout = FeatureLayout(model, dtype)
        self.dtype = dtype
        self.is_hiera = hasattr(vision.backbone, "stage_ends")
        if self.is_hiera:
            # Hiera resizes a small positional map to the image. Bicubic interpolation is a matrix product from each
            # side. Engines compute it when they load, so the file need not hold the large map.
            side, background = size_px // 4, vision.backbone.pos_embed.shape[-1]
            stretch = F.interpolate(torch.eye(background)[None, None], (side, background), mode="bicubic")[0, 0]
            self.register_buffer("stretch", stretch.to(dtype))
            self.windows = side // vision.backbone.pos_embed_window.shape[-1]
            for block in vision.backbone.blocks:
                block.attn = _Attention(block.attn)
        self.register_buffer("no_memory", model.no_memory_embedding.detach().reshape(1, -1, 1, 1).to(dtype))
        mean, std = (torch.from_numpy(values).reshape(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        self.register_buffer("gain", 1 / (255 * std))
        self.register_buffer("offset", -mean / std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # TensorRT takes uint8 only before a cast.
        pixels = image.to(torch.float32).permute(0, 3, 1, 2) * self.gain + self.offset
        stages = self._stages(pixels.to(self.dtype))
        high_0, high_1 = (layer(stage) for layer, stage in zip(self.to_high_res, stages, strict=False))
        vision_feat = self._coarsest(stages)
        return *self.layout(vision_feat + self.no_memory, high_0, high_1), vision_feat

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

    def _coarsest(self, stages: list[Tensor]) -> Tensor:
        """The coarsest map of the feature pyramid. The neck's forward is not used, as it adds sine encodings."""
        vision_feat: Tensor | None = None
        for level in reversed(range(self.levels - 1, len(stages))):
            lateral = self.lateral[len(stages) - 1 - level](stages[level])
            if vision_feat is not None and level in self.top_down_levels:
                lateral = lateral + F.interpolate(vision_feat, scale_factor=2.0, mode="nearest")
            vision_feat = lateral
        assert vision_feat is not None
        return vision_feat


class _Attention(nn.Module):
    """Hiera's attention with separate projections, because splitting the result of a joint one would copy it."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.num_attention_heads, self.scale, self.query_stride = (
            source.num_attention_heads, source.scale, source.query_stride,
        )  # fmt: skip
        self.projections = nn.ModuleList()
        for weight, bias in zip(source.qkv.weight.chunk(3), source.qkv.bias.chunk(3), strict=True):
            projection = nn.Linear(*reversed(weight.shape))
            projection.weight.data, projection.bias.data = weight.detach().clone(), bias.detach().clone()
            self.projections.append(projection)
        self.proj = source.proj

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[windows, height, width, channels], half as high and wide if the queries are pooled."""
        query, key, value = (projection(hidden_states) for projection in self.projections)
        if self.query_stride:
            query = F.max_pool2d(query.permute(0, 3, 1, 2), self.query_stride).permute(0, 2, 3, 1)
        size = query.shape[1:3]
        query, key, value = (split_heads(self, part.flatten(1, 2)) for part in (query, key, value))
        return self.proj(weigh(query, key, value, self.scale, None).unflatten(1, size))


def _joined(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """Two consecutive 1 x 1 convolutions merged into one. This avoids the map between them, which is the largest."""
    both = nn.Conv2d(first.in_channels, second.out_channels, 1)
    before, after = (layer.weight.detach().double().flatten(1) for layer in (first, second))
    both.weight.data = (after @ before)[:, :, None, None].float()
    both.bias.data = (after @ first.bias.detach().double() + second.bias.detach().double()).float()
    return both

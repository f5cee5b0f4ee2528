"""The embedded segmenter: SAM2's architecture, small enough to be trained on a CPU."""

from __future__ import annotations

import torch
from torch import nn
from transformers import Sam2Config, Sam2Model
from transformers.models.sam2.configuration_sam2 import (
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

HIDDEN = 128
STAGE_WIDTHS = [32, 64, 128, 192]
STAGE_BLOCKS = [1, 2, 3, 1]


def small_config(size_px: int) -> Sam2Config:
    """A model of 2.1 million weights for square images of `size_px`, a multiple of 32. The size changes no weight."""
    backbone = Sam2HieraDetConfig(
        hidden_size=STAGE_WIDTHS[0],
        num_attention_heads=1,
        image_size=[size_px, size_px],
        window_positional_embedding_background_size=[8, 8],
        blocks_per_stage=STAGE_BLOCKS,
        embed_dim_per_stage=STAGE_WIDTHS,
        num_attention_heads_per_stage=[1, 2, 4, 6],
        window_size_per_stage=[8, 4, 8, 8],
        global_attention_blocks=[4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=STAGE_WIDTHS[::-1],
        backbone_feature_sizes=[[size_px // 4] * 2, [size_px // 8] * 2, [size_px // 16] * 2],
        fpn_hidden_size=HIDDEN,
    )
    decoder = Sam2MaskDecoderConfig(
        hidden_size=HIDDEN,
        mlp_dim=4 * HIDDEN,
        num_attention_heads=4,
        attention_downsample_rate=1,
        iou_head_hidden_dim=HIDDEN,
        # The fallback would choose among the three masks of the multimask output, which are not trained.
        dynamic_multimask_via_stability=False,
    )
    prompts = Sam2PromptEncoderConfig(hidden_size=HIDDEN, image_size=size_px, patch_size=16)
    return Sam2Config(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)


def new_model(size_px: int, seed: int) -> Sam2Model:
    """An untrained model, initialised for training."""
    torch.manual_seed(seed)
    model = Sam2Model(small_config(size_px))
    with torch.no_grad():
        # Image and prompts need the same random positional embedding; transformers draws two.
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(
            model.shared_image_embedding.positional_embedding
        )
        for name, layer in model.mask_decoder.named_modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
            # With queries and keys near the identity, a prompt attends to its place in the image from the start.
            if name.endswith(("q_proj", "k_proj")) and ("cross_attn" in name or "final_attn" in name):
                layer.weight.mul_(0.1).add_(torch.eye(HIDDEN))
    return model


def resized_model(model: Sam2Model, size_px: int) -> Sam2Model:
    """A model for images of another size, with the same weights."""
    other = Sam2Model(small_config(size_px))
    other.load_state_dict(model.state_dict())
    return other.to(model.device)

"""The embedded segmenter with a small SAM2 memory, in the published layout. The image part is unchanged."""

from __future__ import annotations

import torch
from torch import nn
from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2_video.configuration_sam2_video import (
    Sam2VideoMaskDecoderConfig,
    Sam2VideoPromptEncoderConfig,
)

from reasonseg_ros.segmenter.sam2 import set_image_size

MEMORIES = 4
"""The prompted frame and the last three. Each additional one costs as much as the rest of the memory attention."""
POINTERS = 8
MEMORY_CHANNELS = 64  # transformers' memory attention accepts no other number
_FEATURE_STD = 0.37
"""Standard deviation of the trained image encoder's features. With it, the memory attention's output starts at the
decoder's scale."""

TRAINED = (
    "memory_attention.", "memory_encoder.", "memory_temporal_positional_encoding", "no_object_pointer",
    "object_pointer_proj.", "temporal_positional_encoding_projection_layer.", "occlusion_spatial_embedding_parameter",
    "mask_decoder.pred_obj_score_head.",
)  # fmt: skip
"""Weights that do not affect the masks of single images."""


def video_config(image: Sam2Config, size_px: int) -> Sam2VideoConfig:
    """The configuration of `image`, for squares of `size_px`, with the memory's sizes."""
    hidden = image.prompt_encoder_config.hidden_size
    decoder = {k: v for k, v in image.mask_decoder_config.to_dict().items() if k != "model_type"}
    prompts = {k: v for k, v in image.prompt_encoder_config.to_dict().items() if k != "model_type"}
    config = Sam2VideoConfig(
        vision_config=image.vision_config.to_dict(),
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(**prompts),
        mask_decoder_config=Sam2VideoMaskDecoderConfig(**decoder),
        num_maskmem=MEMORIES,
        max_object_pointers_in_encoder=POINTERS,
        multimask_output_in_sam=False,  # only the single mask is trained
        multimask_output_for_tracking=False,
        memory_attention_hidden_size=hidden,
        memory_attention_num_layers=1,
        memory_attention_downsample_rate=2,
        memory_attention_feed_forward_hidden_size=4 * hidden,
        memory_attention_dropout=0.0,
        memory_attention_rope_dropout=0.0,
        memory_encoder_hidden_size=hidden,
        memory_encoder_output_channels=MEMORY_CHANNELS,
        mask_downsampler_embed_dim=hidden,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=hidden,
        memory_fuser_intermediate_dim=2 * hidden,
    )
    return _sized(config, size_px)


def _sized(config: Sam2VideoConfig, size_px: int) -> Sam2VideoConfig:
    set_image_size(config, size_px)
    config.image_size = size_px
    config.memory_attention_rope_feat_sizes = [size_px // 16, size_px // 16]
    return config


def new_video_model(image: Sam2Model, size_px: int, seed: int) -> Sam2VideoModel:
    """`image` with an untrained memory that is initialised to compare features. Everything else is frozen."""
    torch.manual_seed(seed)
    model = Sam2VideoModel(video_config(image.config, size_px))
    unknown = model.load_state_dict(image.state_dict(), strict=False).unexpected_keys
    assert not unknown, unknown
    with torch.no_grad():
        _compare_features(model)
    return freeze_image_part(model)


def _compare_features(model: Sam2VideoModel) -> None:
    """Initialise the memory to attend to features that resemble the stored ones."""
    hidden = model.hidden_dim
    encoder, attention = model.memory_encoder, model.memory_attention
    mixed = torch.linalg.qr(torch.randn(hidden, hidden))[0][:MEMORY_CHANNELS]
    _as_matrix(encoder.feature_projection, torch.eye(hidden) / _FEATURE_STD)
    _as_matrix(encoder.projection, mixed)
    for block in encoder.memory_fuser.layers:
        block.scale.fill_(0.1)
    for layer in attention.layers:
        _as_matrix(layer.cross_attn_image.q_proj, mixed)
        _as_matrix(layer.cross_attn_image.k_proj, torch.eye(MEMORY_CHANNELS))
        for out in (layer.self_attn.o_proj, layer.linear2):
            out.weight.mul_(0.1)
    attention.layer_norm.weight.fill_(_FEATURE_STD)
    model.memory_temporal_positional_encoding.normal_(std=0.1)
    model.occlusion_spatial_embedding_parameter.normal_(std=0.1)
    model.no_object_pointer.normal_(std=0.1)


def _as_matrix(layer: nn.Linear | nn.Conv2d, matrix: torch.Tensor) -> None:
    layer.weight.copy_(matrix.reshape(layer.weight.shape))
    nn.init.zeros_(layer.bias)


def resized_video_model(model: Sam2VideoModel, size_px: int) -> Sam2VideoModel:
    """A model for images of another size, with the same weights."""
    config = _sized(Sam2VideoConfig.from_dict(model.config.to_dict()), size_px)
    other = Sam2VideoModel(config)
    other.load_state_dict(model.state_dict())
    return freeze_image_part(other.to(model.device))


def freeze_image_part(model: Sam2VideoModel) -> Sam2VideoModel:
    """Freeze everything except the modules in `TRAINED`."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINED))
    return model

"""Loads checkpoints of the official `sam2` package (`.pt`) as transformers' SAM2, by renaming the weights.

Names and sizes: https://github.com/facebookresearch/sam2, `sam2/configs`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2.configuration_sam2 import Sam2HieraDetConfig, Sam2VisionConfig

from reasonseg_ros.errors import ModelError

# From width and number of blocks, which the weights reveal, to heads, windows and global attention blocks.
_HIERA = {
    (96, 12): {},
    (96, 16): {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    (112, 24): {
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_positional_embedding_background_size": [14, 14],
    },
    (144, 48): {
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}

# Applied in order.
_RENAMED = [
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^sam_prompt_encoder\.", "prompt_encoder."),
    (r"^sam_mask_decoder\.", "mask_decoder."),
    (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
    (r"^no_obj_ptr$", "no_object_pointer"),
    (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
    (r"^obj_ptr_proj\.", "object_pointer_proj."),
    (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"pe_layer\.positional_encoding_gaussian_matrix$", "shared_embedding.positional_embedding"),
    (r"mask_downscaling\.0\.", "mask_embed.conv1."),
    (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
    (r"mask_downscaling\.3\.", "mask_embed.conv2."),
    (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
    (r"mask_downscaling\.6\.", "mask_embed.conv3."),
    (r"output_upscaling\.0\.", "upscale_conv1."),
    (r"output_upscaling\.1\.", "upscale_layer_norm."),
    (r"output_upscaling\.3\.", "upscale_conv2."),
    (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
    (r"\.out_proj\.", ".o_proj."),
    (r"\.pix_feat_proj\.", ".feature_projection."),
    (r"\.fuser\.", ".memory_fuser."),
    (r"\.dwconv\.", ".depthwise_conv."),
    (r"\.pwconv(\d)\.", r".pointwise_conv\1."),
    (r"\.gamma$", ".scale"),
    (r"\.norm(\w*)\.", r".layer_norm\1."),
]
_MLP = re.compile(
    r"(.*(?:\.mlp|\.iou_prediction_head|\.pred_obj_score_head|object_pointer_proj|output_hypernetworks_mlps\.\d+)"
    r"\.)layers\.(\d+)(\..*)"
)
_DOWNSAMPLER = re.compile(r"(memory_encoder\.mask_downsampler\.)encoder\.(\d+)(\..*)")
_POINT = re.compile(r"prompt_encoder\.point_embeddings\.(\d+)\.weight")


def load_official(path: Path, size_px: int = 0) -> Sam2VideoModel:
    """The model of an official SAM2 or SAM2.1 checkpoint, tiny to large, for images of `size_px` (0: 1024).

    Raises ModelError for a file that is no such checkpoint. Only tensors are read from it, no code.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
        state = transformers_weights(weights)
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, EOFError,
            pickle.UnpicklingError) as error:  # fmt: skip
        raise ModelError(f"{path} is no checkpoint of the official sam2 package: {error}; download it again") from error
    return model_of(state, config_of(state, size_px or 1024))


def config_of(state: Mapping[str, Tensor], size_px: int) -> Sam2VideoConfig:
    """The configuration of weights named as in transformers. Raises ModelError for a size that was never published."""
    backbone = "vision_encoder.backbone."
    try:
        width = state[f"{backbone}patch_embed.projection.weight"].shape[0]
    except KeyError as error:
        raise ModelError(f"no weights by the name {error}; expected a SAM2 or SAM2.1 checkpoint") from error
    blocks = _layers(state, f"{backbone}blocks.")
    if (width, blocks) not in _HIERA:
        known = ", ".join(f"{w} and {b}" for w, b in _HIERA)
        raise ModelError(f"an image encoder of width {width} and {blocks} blocks; known are {known} (tiny to large)")
    widths = [width * 2**stage for stage in range(4)]
    hiera = Sam2HieraDetConfig(
        hidden_size=width, embed_dim_per_stage=widths, image_size=[size_px, size_px], **_HIERA[width, blocks]
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[size_px // stride] * 2 for stride in (4, 8, 16)],
    )
    return Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": size_px},
        image_size=size_px,
        memory_attention_rope_feat_sizes=[size_px // 16] * 2,
        memory_attention_num_layers=_layers(state, "memory_attention.layers."),
        # SAM2.1 has both, SAM2 neither.
        enable_temporal_pos_encoding_for_object_pointers=any(
            name.startswith("temporal_positional_encoding_projection_layer.") for name in state
        ),
        enable_occlusion_spatial_embedding="occlusion_spatial_embedding_parameter" in state,
    )


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    """The number of layers, named `prefix` + number."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def model_of(state: Mapping[str, Tensor], config: Sam2VideoConfig) -> Sam2VideoModel:
    """Raises ModelError if weights are missing, left over or of another shape."""
    model = Sam2VideoModel._from_config(config, attn_implementation="eager")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"the weights are not those of SAM2: {error}; download the checkpoint again") from error
    return model.eval().requires_grad_(False)


def transformers_weights(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The official package's weights under transformers' names."""
    names = {name: _rename(name) for name in official}
    last: dict[str, int] = {}
    for name in names.values():
        if match := _MLP.fullmatch(name):
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    state, points = {}, {}
    for name, value in official.items():
        new = names[name]
        if match := _POINT.fullmatch(new):
            points[int(match[1])] = value
            continue
        if match := _MLP.fullmatch(new):
            new = match[1] + _mlp_layer(int(match[2]), last[match[1]]) + match[3]
        if match := _DOWNSAMPLER.fullmatch(new):
            new = match[1] + _downsampler_layer(int(match[2])) + match[3]
        state[new] = value
    state["prompt_encoder.point_embed.weight"] = torch.cat([points[kind] for kind in sorted(points)])
    place = "shared_embedding.positional_embedding"
    state["shared_image_embedding.positional_embedding"] = state[f"prompt_encoder.{place}"]
    return state


def _rename(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _mlp_layer(index: int, last: int) -> str:
    return "proj_in" if index == 0 else "proj_out" if index == last else f"layers.{index - 1}"


def _downsampler_layer(index: int) -> str:
    """Four times convolution, norm and activation, then a convolution."""
    layer, part = divmod(index, 3)
    return "final_conv" if layer == 4 else f"layers.{layer}.{('conv', 'layer_norm')[part]}"

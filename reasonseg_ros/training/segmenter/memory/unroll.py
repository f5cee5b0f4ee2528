"""SAM2's tracking of a clip for training: all targets of all clips together, with gradients through the memory.

The computation equals that of transformers' `Sam2VideoModel` frame by frame. Source: Ravi et al., "SAM 2: Segment
Anything in Images and Videos", 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import get_1d_sine_pe

UNSEEN_LOGIT = -1024.0
"""Mask logit given to the memory for a target that is not visible, as in SAM2."""


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """One frame, repeated for N targets: vision [N, C, h, h], high_res [N, C/8, 4h, 4h] and [N, C/4, 2h, 2h]."""

    vision: Tensor
    high_res: tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Decoded:
    """The decoder's outputs: logits [N, 4h, 4h], predicted IoU [N], object score [N], object pointer [N, C]."""

    logits: Tensor
    iou: Tensor
    score: Tensor
    pointer: Tensor


@dataclass(frozen=True, eq=False)
class Remembered:
    """One frame in the memory: features [N, D, h, h] and pointer [N, C]."""

    features: Tensor
    pointer: Tensor


@torch.no_grad()
def encode(model: Sam2VideoModel, pixels: Tensor, targets: int) -> list[FrameFeatures]:
    """Features of the T frames of `pixels`, float32 [B, T, 3, S, S], repeated for `targets` targets per clip."""
    clips, frames = pixels.shape[:2]
    maps = model.vision_encoder(pixels.flatten(0, 1)).fpn_hidden_states
    maps = [level.unflatten(0, (clips, frames)) for level in maps]
    decoder = model.mask_decoder
    features = []
    for t in range(frames):
        near, middle, far = (level[:, t] for level in maps)
        levels = (decoder.conv_s0(near), decoder.conv_s1(middle), far)
        near, middle, far = (level.repeat_interleave(targets, 0) for level in levels)
        features.append(FrameFeatures(far, (near, middle)))
    return features


def prompted_frame(
    model: Sam2VideoModel, frame: FrameFeatures, boxes_xyxy: Tensor, points_xy: Tensor | None
) -> Decoded:
    """The masks for boxes [N, 4] and positive points [N, P, 2], in pixels of the square image."""
    labels = None if points_xy is None else torch.ones(points_xy.shape[0], 1, points_xy.shape[1], dtype=torch.int)
    prompts = model.prompt_encoder(
        input_points=None if points_xy is None else points_xy[:, None],
        input_labels=labels,
        input_boxes=boxes_xyxy[:, None],
        input_masks=None,
    )
    return _decode(model, frame, frame.vision + model.no_memory_embedding.reshape(1, -1, 1, 1), prompts)


def followed_frame(model: Sam2VideoModel, frame: FrameFeatures, embedding: Tensor) -> Decoded:
    """The masks from the memory alone, without prompts. `embedding` is that of `recall`."""
    count = len(embedding)
    nothing = torch.zeros(count, 1, 1, 2), -torch.ones(count, 1, 1, dtype=torch.int)
    prompts = model.prompt_encoder(*nothing, None, None)
    return _decode(model, frame, embedding, prompts)


def _decode(model: Sam2VideoModel, frame: FrameFeatures, embedding: Tensor, prompts: tuple[Tensor, Tensor]) -> Decoded:
    sparse, dense = prompts
    logits, iou, tokens, score = model.mask_decoder(
        image_embeddings=embedding,
        image_positional_embeddings=model.get_image_wide_positional_embeddings().repeat(len(embedding), 1, 1, 1),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
        high_resolution_features=list(frame.high_res),
    )
    pointer = model.object_pointer_proj(tokens[:, 0, 0])
    return Decoded(logits[:, 0, 0], iou[:, 0, 0], score[:, 0, 0], pointer)


def remember(model: Sam2VideoModel, frame: FrameFeatures, found: Decoded, seen: Tensor, prompted: bool) -> Remembered:
    """The memory of a frame. `seen`, bool [N], is the visibility of its targets."""
    config = model.config
    logits = torch.where(seen[:, None, None], found.logits, UNSEEN_LOGIT)[:, None]
    logits = F.interpolate(logits, size=(config.image_size,) * 2, mode="bilinear", align_corners=False)
    cover = (logits > 0).float() if prompted else logits.sigmoid()
    cover = cover * config.sigmoid_scale_for_mem_enc + config.sigmoid_bias_for_mem_enc
    features, _ = model.memory_encoder(frame.vision, cover)
    unseen = (~seen).float()
    features = features + unseen[:, None, None, None] * model.occlusion_spatial_embedding_parameter[..., None, None]
    return Remembered(features, torch.where(seen[:, None], found.pointer, model.no_object_pointer))


def recall(
    model: Sam2VideoModel, frame: FrameFeatures, prompted: Remembered, prompted_ago: int, recent: Sequence[Remembered]
) -> Tensor:
    """The frame's embedding [N, C, h, h], conditioned on the prompted frame and on `recent` frames, newest first."""
    vision = frame.vision
    count, channels, height, width = vision.shape
    kept = [(0, prompted), *((ago, memory) for ago, memory in enumerate(recent[: model.num_maskmem - 1], 1))]
    place = model.memory_encoder.position_encoding(kept[0][1].features.shape, vision.device, vision.dtype)
    tokens = [memory.features.flatten(2).permute(2, 0, 1) for _, memory in kept]
    places = [place.flatten(2).permute(2, 0, 1) + model.memory_temporal_positional_encoding[ago - 1] for ago, _ in kept]
    most = model.config.max_object_pointers_in_encoder
    pointers = [(prompted_ago, prompted.pointer)]
    pointers += [(ago, memory.pointer) for ago, memory in enumerate(recent[: most - 1], 1)]
    ages = torch.tensor([ago for ago, _ in pointers], dtype=torch.float32, device=vision.device) / (most - 1)
    age_codes = model.temporal_positional_encoding_projection_layer(get_1d_sine_pe(ages, channels))
    pieces = channels // model.mem_dim
    stacked = torch.stack([pointer for _, pointer in pointers])
    tokens.append(stacked.reshape(-1, count, pieces, model.mem_dim).permute(0, 2, 1, 3).flatten(0, 1))
    places.append(age_codes[:, None].expand(-1, count, -1).repeat_interleave(pieces, 0))
    vision_place = model.vision_encoder.neck.position_encoding(vision.shape, vision.device, vision.dtype)
    mixed = model.memory_attention(
        current_vision_features=vision.flatten(2).permute(2, 0, 1),
        current_vision_position_embeddings=vision_place.flatten(2).permute(2, 0, 1),
        memory=torch.cat(tokens),
        memory_posision_embeddings=torch.cat(places),
        num_object_pointer_tokens=len(pointers) * pieces,
    )
    # [1, N, h * h, C]
    return mixed[0].transpose(1, 2).reshape(count, channels, height, width)

"""SAM2's tracking over a few frames with the library's modules: the reference for exported memory graphs.

The library's session does the same and more, but it rounds memories to bfloat16, which the graphs do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.sam2_video.modeling_sam2_video import get_1d_sine_pe

from reasonseg_ros.segmenter.sam2 import preprocess
from reasonseg_ros.types import FloatArray, RgbImage


@torch.inference_mode()
def look(model: nn.Module, frame: RgbImage) -> Any:
    """Features of the frame uint8 [S, S, 3] from the image encoder of a Sam2VideoModel; the same for every object."""
    return model.vision_encoder(torch.from_numpy(preprocess(frame, model.image_size)[None]))


@torch.inference_mode()
def track(
    model: nn.Module, frames: Sequence[Any], coords: FloatArray, labels: Sequence[int], multimask: bool
) -> FloatArray:
    """Track one object, prompted on the first frame by points without the padding point.

    Args:
        model: a Sam2VideoModel in float32.
        frames: the result of `look` for each.
        coords, labels: [P, 2] in pixels of the frames, and P labels. A box is two points with labels 2 and 3.

    Returns:
        Mask logits float32 [frames, S/4, S/4].
    """
    masks: list[FloatArray] = []
    memories: list[tuple[Tensor, Tensor, Tensor]] = []
    decoder = model.mask_decoder
    for time, vision in enumerate(frames):
        fine = [decoder.conv_s0(vision.fpn_hidden_states[0]), decoder.conv_s1(vision.fpn_hidden_states[1])]
        feature = vision.fpn_hidden_states[2]
        prompt: dict[str, Tensor] = {}
        if time == 0:
            embed = feature + model.no_memory_embedding.reshape(1, -1, 1, 1)
            prompt["input_points"] = torch.from_numpy(np.asarray(coords, np.float32))[None, None]
            prompt["input_labels"] = torch.tensor([[list(labels)]], dtype=torch.int32)
        else:
            embed = _attend(model, feature, vision.fpn_position_encoding[2], memories)
        seen = model._single_frame_forward(image_embeddings=[*fine, embed], multimask_output=multimask, **prompt)
        masks.append(seen.pred_masks[0, 0].numpy())
        memories.append((*_remember(model, feature, seen, prompted=time == 0), seen.object_pointer.reshape(1, -1)))
    return np.stack(masks)


def _remember(model: nn.Module, feature: Tensor, seen: Any, prompted: bool) -> tuple[Tensor, Tensor]:
    """Features of a memory, and their positional encoding, both [h*h, 1, D]."""
    logits = seen.high_res_masks.reshape(1, 1, model.image_size, model.image_size)
    mask = (logits > 0).float() if prompted else logits.sigmoid()
    mask = mask * model.config.sigmoid_scale_for_mem_enc + model.config.sigmoid_bias_for_mem_enc
    memory, place = model.memory_encoder(feature, mask)
    if model.occlusion_spatial_embedding_parameter is not None and seen.object_score_logits.item() <= 0:
        memory = memory + model.occlusion_spatial_embedding_parameter[..., None, None]
    return memory.flatten(2).permute(2, 0, 1), place.flatten(2).permute(2, 0, 1)


def _attend(
    model: nn.Module, feature: Tensor, place: Tensor, memories: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> Tensor:
    """The next frame's features after attention to `memories`, of which the first is of the prompt: [1, C, h, h]."""
    now, splits = len(memories), model.hidden_dim // model.mem_dim
    times = model.memory_temporal_positional_encoding
    keys, places, pointers, pointer_places = [], [], [], []
    for time, (memory, memory_place, pointer) in enumerate(memories):
        keys.append(memory)
        places.append(memory_place + times[-1 if time == 0 else now - time - 1])
        pointers.append(pointer.reshape(splits, 1, model.mem_dim))
        pointer_place = torch.zeros(1, model.mem_dim)
        if model.config.enable_temporal_pos_encoding_for_object_pointers:
            age = torch.tensor([(now - time) / (model.config.max_object_pointers_in_encoder - 1)])
            pointer_place = model.temporal_positional_encoding_projection_layer(get_1d_sine_pe(age, model.hidden_dim))
        pointer_places.append(pointer_place.expand(splits, 1, model.mem_dim))
    fused = model.memory_attention(
        current_vision_features=feature.flatten(2).permute(2, 0, 1),
        current_vision_position_embeddings=place.flatten(2).permute(2, 0, 1),
        memory=torch.cat(keys + pointers),
        memory_posision_embeddings=torch.cat(places + pointer_places),
        num_object_pointer_tokens=len(pointers) * splits,
    )
    return fused.squeeze(1).transpose(1, 2).reshape(feature.shape)

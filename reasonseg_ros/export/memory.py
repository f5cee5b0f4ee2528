"""The two graphs of SAM2's memory: encoding an object's mask as a memory, and attending to memories."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonseg_ros.export.attention import IGNORED, split_heads, weigh

ABSENT = -1024.0
"""Mask logits with which SAM2 encodes an object that is not in the image."""


class MemoryEncoder(nn.Module):
    """From vision_feat, mask logits, object_score and `prompted` to mem_feat [N, h*h, D]."""

    def __init__(self, model: nn.Module, size_px: int, dtype: torch.dtype) -> None:
        super().__init__()
        config = model.config
        self.size_px = size_px
        self.dtype = dtype
        self.encoder = copy.deepcopy(model.memory_encoder).to(dtype)
        self.gain, self.offset = config.sigmoid_scale_for_mem_enc, config.sigmoid_bias_for_mem_enc
        occluded = model.occlusion_spatial_embedding_parameter
        self.marks_occlusion = occluded is not None
        if self.marks_occlusion:
            self.register_buffer("occluded", occluded.detach().reshape(1, 1, -1).to(dtype))

    def forward(self, vision_feat: Tensor, masks: Tensor, object_score: Tensor, prompted: Tensor) -> Tensor:
        present = (object_score > 0).float()
        masks = torch.where(present[:, :, None, None] > 0, masks, torch.full_like(masks, ABSENT))
        masks = F.interpolate(masks, size=(self.size_px, self.size_px), mode="bilinear", align_corners=False)
        # The mask that answers a prompt is binarised at 0. A tracked mask keeps its probabilities.
        by_prompt = prompted.reshape(-1, 1, 1, 1)
        shares = by_prompt * (masks > 0).float() + (1 - by_prompt) * torch.sigmoid(masks)
        drawn = self.encoder.mask_downsampler((shares * self.gain + self.offset).to(self.dtype))
        fused = self.encoder.memory_fuser(self.encoder.feature_projection(vision_feat) + drawn)
        memory = self.encoder.projection(fused).flatten(2).transpose(1, 2)
        if self.marks_occlusion:
            memory = memory + (1 - present).to(self.dtype).unsqueeze(2) * self.occluded
        return memory


class MemoryAttention(nn.Module):
    """From vision_feat and the memories of N objects to image_embed [N, h*h, C] (`engine.manifest` has the inputs).

    The rotary encoding rotates pairs of neighbouring channels. Here the rows of the weights are sorted, first channels
    of all pairs before second ones, so that halves are rotated instead. The product of query and key is the same.
    Engines have no fast kernels for every other channel.
    """

    def __init__(self, model: nn.Module, size_px: int, dtype: torch.dtype) -> None:
        super().__init__()
        config, side = model.config, size_px // 16
        source = model.memory_attention
        attention = copy.deepcopy(source)
        for layer in attention.layers:
            for part in (layer.self_attn, layer.cross_attn_image):
                _sort_pairs(part.q_proj, part.num_attention_heads)
                _sort_pairs(part.k_proj, part.num_attention_heads)
        self.layers = attention.layers.to(dtype)
        self.norm = attention.layer_norm.to(dtype)
        self.register_buffer("no_mask", model.prompt_encoder.no_mask_embed.weight.detach().reshape(1, 1, -1).to(dtype))
        self.dtype = dtype
        cosine, sine = source.rotary_emb(torch.zeros(1), source.position_ids)
        # Both channels of a pair are rotated by the same angle.
        self.register_buffer("cosine", cosine.flatten(0, -2)[:, ::2].to(dtype))
        self.register_buffer("sine", sine.flatten(0, -2)[:, ::2].to(dtype))
        place = model.vision_encoder.neck.position_encoding((1, model.hidden_dim, side, side), "cpu", torch.float32)
        memory_place = model.memory_encoder.position_encoding((1, model.mem_dim, side, side), "cpu", torch.float32)
        self.register_buffer("place", 0.1 * _edges(place).to(dtype))
        self.register_buffer("memory_place", _edges(memory_place).to(dtype))
        times = model.memory_temporal_positional_encoding.detach().reshape(-1, model.mem_dim)
        self.register_buffer("times", times.to(dtype))
        self.splits = model.hidden_dim // model.mem_dim
        self.places_pointers = config.enable_temporal_pos_encoding_for_object_pointers
        if self.places_pointers:
            self.to_pointer_place = copy.deepcopy(model.temporal_positional_encoding_projection_layer).to(dtype)
            half = model.hidden_dim // 2
            steps = 10000 ** (2 * (torch.arange(half, dtype=torch.float32) // 2) / half)
            # float32 at any precision, because the angles of distant frames are large.
            self.register_buffer("pointer_rates", 1 / (steps * (config.max_object_pointers_in_encoder - 1)))

    def forward(
        self, vision_feat: Tensor, mem_feat: Tensor, mem_slot: Tensor, obj_ptr: Tensor, ptr_dt: Tensor
    ) -> Tensor:
        tokens = vision_feat.flatten(2).transpose(1, 2) + _spread(self.place)
        tokens = tokens.expand(mem_feat.shape[0], -1, -1)
        placed = mem_feat + _spread(self.memory_place) + self.times[mem_slot.clamp(min=0).long()].unsqueeze(2)
        # A pointer has more channels than a memory, so it is split into several tokens.
        pointers = obj_ptr.unflatten(2, (self.splits, -1))
        placed_pointers = (pointers + self._pointer_place(ptr_dt).unsqueeze(2)).flatten(1, 2)
        pointers = pointers.flatten(1, 2)
        bias = self._bias(mem_slot < 0, mem_feat.shape[2], ptr_dt < 0)
        for layer in self.layers:
            attention, seen = layer.self_attn, layer.layer_norm1(tokens)
            query, key = (
                self._turn(split_heads(attention, part(seen))) for part in (attention.q_proj, attention.k_proj)
            )
            value = split_heads(attention, attention.v_proj(seen))
            tokens = tokens + attention.o_proj(weigh(query, key, value, attention.scaling, None))

            attention = layer.cross_attn_image
            query = self._turn(split_heads(attention, attention.q_proj(layer.layer_norm2(tokens))))
            # Every memory is rotated by the same angles. Pointers have no position in the image.
            frames = attention.k_proj(placed).unflatten(3, (attention.num_attention_heads, -1)).permute(0, 3, 1, 2, 4)
            pointer_key = split_heads(attention, attention.k_proj(placed_pointers))
            key = torch.cat([self._turn(frames).flatten(2, 3), pointer_key], 2)
            value = split_heads(attention, attention.v_proj(torch.cat([mem_feat.flatten(1, 2), pointers], 1)))
            tokens = tokens + attention.o_proj(weigh(query, key, value, attention.scaling, bias))

            tokens = tokens + layer.linear2(layer.activation(layer.linear1(layer.layer_norm3(tokens))))
        return self.norm(tokens) + self.no_mask

    def _turn(self, heads: Tensor) -> Tensor:
        """Rotary encoding of [..., h*h, size], with halves instead of pairs."""
        first, second = heads.chunk(2, -1)
        turned = first * self.cosine - second * self.sine, second * self.cosine + first * self.sine
        return torch.cat(turned, -1)

    def _pointer_place(self, ptr_dt: Tensor) -> Tensor:
        """[N, pointers, D]: encoding of each pointer's age."""
        if not self.places_pointers:
            return torch.zeros(1, 1, self.times.shape[1], dtype=self.dtype)
        angles = ptr_dt.unsqueeze(-1) * self.pointer_rates
        return self.to_pointer_place(torch.cat([angles.sin(), angles.cos()], -1).to(self.dtype))

    def _bias(self, empty_slots: Tensor, slot_length: int, empty_pointers: Tensor) -> Tensor:
        """[N, 1, 1, keys]: keeps attention off empty slots and pointers."""
        slots = empty_slots.unsqueeze(2).expand(-1, -1, slot_length).flatten(1)
        pointers = empty_pointers.unsqueeze(2).expand(-1, -1, self.splits).flatten(1)
        return (torch.cat([slots, pointers], 1).to(self.dtype) * IGNORED)[:, None, None, :]


def _edges(place: Tensor) -> Tensor:
    """The rows and columns, [2, h, C/2], of a sine encoding [1, C, h, h].

    One half of its channels depends on the row alone, the other on the column alone.
    """
    half = place.shape[1] // 2
    return torch.stack([place[0, :half, :, 0].T, place[0, half:, 0, :].T])


def _spread(edges: Tensor) -> Tensor:
    """The sine encoding [h*h, C] from `_edges` [2, h, C/2]; engines compute it when they load."""
    side = edges.shape[1]
    rows, columns = edges[0].unsqueeze(1).expand(-1, side, -1), edges[1].unsqueeze(0).expand(side, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1)


def _sort_pairs(projection: nn.Linear, heads: int) -> None:
    size = projection.out_features // heads
    order = torch.cat([torch.arange(0, size, 2), torch.arange(1, size, 2)])
    rows = torch.cat([head * len(order) + order for head in range(heads)])
    projection.weight.data, projection.bias.data = projection.weight.data[rows], projection.bias.data[rows]

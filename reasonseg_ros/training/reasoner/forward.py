"""The forward pass of training. It uses transformers' layers and weights, and shares an image among several questions.

The results equal those of Qwen2_5_VLForConditionalGeneration.forward, which a test checks. All images have one size, so
positions and rotations are computed once. A row is one image, or the frames of a video, followed by the questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from reasonseg_ros.training.reasoner.model import GRID_WH, IMAGE_TOKENS, MERGE, PATCH_PX

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_SUPERVISED_LAYERS = 2


def patches(images: Tensor) -> Tensor:
    """float32 [B, H, W, 3] in 0 to 1 -> normalised patches [B, 4 * IMAGE_TOKENS, 3 * 14 * 14], grouped by token."""
    images = (images - images.new_tensor(_MEAN)) / images.new_tensor(_STD)
    count = images.shape[0]
    grid = images.view(count, GRID_WH[1], MERGE, PATCH_PX, GRID_WH[0], MERGE, PATCH_PX, 3)
    return grid.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(count, IMAGE_TOKENS * MERGE**2, 3 * PATCH_PX**2)


class PackedForward(nn.Module):
    """Runs the model on rows: the images of `prefix`, followed by packed questions.

    Args:
        model: its parameters are used in place.
        prefix: tokens of the chat up to the end of the last image, with IMAGE tokens in place of the images.
    """

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, prefix: list[int]) -> None:
        super().__init__()
        self.model = model
        self.visual, self.language = model.model.visual, model.model.language_model
        self.prefix_length = len(prefix)
        self.register_buffer("prefix", torch.tensor(prefix), persistent=False)
        image_at = (self.prefix == model.config.image_token_id).nonzero()[:, 0]
        self.register_buffer("image_at", image_at, persistent=False)
        self.first_image = int(image_at[0])
        self.images = len(image_at) // IMAGE_TOKENS
        self.register_buffer("prefix_position", self._prefix_position(), persistent=False)
        self.question_position = int(self.prefix_position.max()) + 1
        grid = torch.tensor([[1, GRID_WH[1] * MERGE, GRID_WH[0] * MERGE]])
        cos, sin = self.visual.rotary_pos_emb(torch.zeros(1), get_vision_position_ids(grid, MERGE, kwargs={}))
        self.register_buffer("vision_cos", cos, persistent=False)
        self.register_buffer("vision_sin", sin, persistent=False)

    def _prefix_position(self) -> Tensor:
        """Time, row and column of the prefix (multimodal rotary positions). int64 [3, prefix]."""
        # In the positions, an image counts as many steps as its longer side, not as its number of tokens.
        position = torch.arange(self.prefix_length).repeat(3, 1)
        token = torch.arange(IMAGE_TOKENS)
        image = torch.stack([torch.zeros_like(token), token // GRID_WH[0], token % GRID_WH[0]])
        for tokens in self.image_at.view(-1, IMAGE_TOKENS):
            first, after = int(tokens[0]), int(tokens[-1]) + 1
            position[:, first:after] = position[:, first : first + 1] + image
            position[:, after:] -= IMAGE_TOKENS - max(GRID_WH)
        return position

    def see(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """States of the patches [B, 4 * IMAGE_TOKENS, vision width], and image tokens [B, IMAGE_TOKENS, width]."""
        pixels = patches(images)
        batch, count, _ = pixels.shape
        # The model expects two equal frames per image. Summing the weights over the frames needs only one product.
        cos, sin = self.vision_cos.repeat(batch, 1), self.vision_sin.repeat(batch, 1)
        states = F.linear(pixels, self.visual.patch_embed.proj.weight.sum(2).flatten(1))
        for block in self.visual.blocks:
            attention = block.attn
            mixture = attention.qkv(block.norm1(states)).view(batch, count, 3, attention.num_heads, -1)
            query, key, value = mixture.unbind(2)
            query, key = apply_rotary_pos_emb_vision(query.flatten(0, 1), key.flatten(0, 1), cos, sin)
            query, key = (x.view(value.shape).to(value.dtype) for x in (query, key))
            query, key, value = (x.transpose(1, 2) for x in (query, key, value))
            mixed = _scores(query, key).softmax(-1) @ value
            states = states + attention.proj(mixed.transpose(1, 2).reshape(batch, count, -1))
            states = states + block.mlp(block.norm2(states))
        return states, self.visual.merger(states.flatten(0, 1)).view(batch, IMAGE_TOKENS, -1)

    def _prefix_states(self, image_tokens: Tensor) -> Tensor:
        """Embeddings of the prefix, including the image tokens. [B, prefix, width]."""
        words = self.language.embed_tokens(self.prefix).expand(image_tokens.shape[0], -1, -1)
        return words.index_copy(1, self.image_at, image_tokens.to(words.dtype))

    def read_image(self, image_tokens: Tensor, layers: int) -> Tensor:
        """States of the image tokens after `layers` text layers, without questions. Shape of `image_tokens`."""
        batch = image_tokens.shape[0]
        states = self._prefix_states(image_tokens)
        position = self.prefix_position[:, None].expand(3, batch, -1)
        mask = torch.ones(1, self.prefix_length, self.prefix_length, dtype=torch.bool, device=states.device).tril()
        rotation = self.language.rotary_emb(states, position)
        for layer in self.language.layers[:layers]:
            states, _ = _layer(layer, states, rotation, _forbidden(mask))
        return states[:, self.image_at]

    def read(
        self, image_tokens: Tensor, tokens: Tensor, position: Tensor, question: Tensor, image_layers: Sequence[int]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Read packed questions (tensors as in `Packed`, [B, L]) after the images.

        `image_tokens` is [B, images * IMAGE_TOKENS, width]. Returns three values: the final states [B, L, width]; the
        states of the image tokens after each number of layers in `image_layers`; and, for each of the last two layers,
        the log attention of the first head from each token to [nowhere, image tokens], [B, L, 1 + images *
        IMAGE_TOKENS]. Nowhere is the token before the first image.
        """
        batch = tokens.shape[0]
        states = torch.cat([self._prefix_states(image_tokens), self.language.embed_tokens(tokens)], 1)
        where = torch.cat(
            [
                self.prefix_position[:, None].expand(3, batch, -1),
                (self.question_position + position)[None].expand(3, -1, -1),
            ],
            2,
        )
        rotation = self.language.rotary_emb(states, where)
        forbidden = _forbidden(self._mask(question))
        attention, image_states = [], []
        places = torch.cat([self.image_at.new_tensor([self.first_image - 1]), self.image_at])
        for index, layer in enumerate(self.language.layers):
            states, scores = _layer(layer, states, rotation, forbidden)
            if index >= len(self.language.layers) - _SUPERVISED_LAYERS:
                log_attention = scores[:, 0, self.prefix_length :].float().log_softmax(-1)
                attention.append(log_attention[:, :, places])
            if index + 1 in image_layers:
                image_states.append(states[:, self.image_at])
        return self.language.norm(states[:, self.prefix_length :]), image_states, attention

    def _mask(self, question: Tensor) -> Tensor:
        """Attention mask, bool [B, T, T]: each token attends to earlier ones of the prefix and of its question."""
        batch = question.shape[0]
        number = torch.cat([question.new_zeros(batch, self.prefix_length), question], 1)
        same = (number[:, None, :] == 0) | (number[:, :, None] == number[:, None, :])
        return same & torch.ones_like(same[0]).tril()


def _forbidden(mask: Tensor) -> Tensor:
    """The mask as an addend of the scores. bfloat16 [B, 1, T, T]."""
    return torch.zeros(mask.shape, dtype=torch.bfloat16, device=mask.device).masked_fill(~mask, -1e4)[:, None]


def _scores(query: Tensor, key: Tensor) -> Tensor:
    """Attention scores. Written out, because at these sizes it trains twice as fast on a CPU as the fused kernel."""
    return (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)


def _layer(
    layer: nn.Module, states: Tensor, rotation: tuple[Tensor, Tensor], forbidden: Tensor
) -> tuple[Tensor, Tensor]:
    """A text layer. Returns the new states [B, T, width] and the attention scores [B, heads, T, T]."""
    batch, length, _ = states.shape
    projection = layer.self_attn
    normed = layer.input_layernorm(states)
    query, key, value = (
        part(normed).view(batch, length, -1, projection.head_dim).transpose(1, 2)
        for part in (projection.q_proj, projection.k_proj, projection.v_proj)
    )
    cos, sin = (x[:, None].to(value.dtype) for x in rotation)
    query, key = query * cos + _turned(query) * sin, key * cos + _turned(key) * sin
    scores = _scores(query, key) + forbidden
    mixed = scores.softmax(-1).to(value.dtype) @ value
    states = states + projection.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))
    return states + layer.mlp(layer.post_attention_layernorm(states)), scores


def _turned(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), -1)

"""The decoder graph: from prompts on an encoded image to one mask each."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasonseg_ros.export.attention import IGNORED, attend, read_pixels, write_pixels
from reasonseg_ros.export.layout import to_rows

PAD, IGNORE = -1, -10
"""Labels of the padding point that SAM2 adds to each prompt, and of absent points."""


class Decoder(nn.Module):
    """Prompt encoder and mask decoder in one (`engine.manifest` has the inputs and outputs).

    `multimask` selects the best of the three masks by predicted IoU. Without it the single mask is returned; if the
    checkpoint has SAM2's stability fallback and that mask is unstable, the best of the three.

    Ignored points are masked out of the attention, so prompts with different numbers of points can share a batch. SAM2
    itself gives them an embedding of zeros, which still changes the mask.
    """

    def __init__(self, model: nn.Module, size_px: int, multimask: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.size_px = size_px
        self.multimask = multimask
        self.dtype = dtype
        decoder = self.decoder = copy.deepcopy(model.mask_decoder).to(dtype)
        prompts = model.prompt_encoder
        tokens = [decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight]
        self.register_buffer("tokens", torch.cat(tokens).detach())
        # float32 at any precision: float16 has too few digits for the coordinates of a large image.
        self.register_buffer("frequencies", prompts.shared_embedding.positional_embedding.detach().float())
        self.register_buffer("kinds", prompts.point_embed.weight.detach().float())
        self.register_buffer("pad", prompts.not_a_point_embed.weight.detach().float())
        side = self.side = size_px // 16
        self.register_buffer("pixel_units", 2 * (torch.arange(side) + 0.5) / side - 1)
        # Transposed convolutions whose kernel is their stride: each pixel becomes 2 x 2, by one matrix.
        for name, layer in (("enlarge_1", decoder.upscale_conv1), ("enlarge_0", decoder.upscale_conv2)):
            self.register_buffer(name, layer.weight.detach().permute(0, 2, 3, 1).flatten(1))
        self.has_memory = hasattr(model, "object_pointer_proj")
        if self.has_memory:
            self.to_pointer = copy.deepcopy(model.object_pointer_proj).to(dtype)
            self.register_buffer("no_pointer", model.no_object_pointer.detach().to(dtype))

    def forward(
        self, image_embed: Tensor, high_res_0: Tensor, high_res_1: Tensor, point_coords: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, ...]:
        prompt = self._embed(point_coords, point_labels).to(self.dtype)
        tokens = torch.cat([self.tokens.expand(prompt.shape[0], -1, -1), prompt], 1)
        ignored = (point_labels == IGNORE).to(self.dtype) * IGNORED
        bias = F.pad(ignored, (len(self.tokens), 0))[:, None, None, :]
        tokens, pixels = self._transform(tokens, image_embed, bias)
        pixels = self._upscale(pixels, high_res_0, high_res_1)
        score = self.decoder.pred_obj_score_head(tokens[:, 0])
        all_iou = self.decoder.iou_prediction_head(tokens[:, 1])
        masks, iou, token = self._choose(tokens[:, 2 : 2 + self.decoder.num_mask_tokens], all_iou, pixels)
        outputs = masks.float(), iou.float(), score.float()
        if not self.has_memory:
            return outputs
        present = (score > 0).to(self.dtype)
        return *outputs, present * self.to_pointer(token) + (1 - present) * self.no_pointer

    def _embed(self, coords: Tensor, labels: Tensor) -> Tensor:
        """float32 [N, P, C]: embedding of each point's position and label."""
        unit = 2 * (coords + 0.5) / self.size_px - 1
        place = self._place(unit[..., :1], unit[..., 1:])
        labels = labels.unsqueeze(-1)
        kind = sum((labels == index).float() * self.kinds[index] for index in range(len(self.kinds)))
        return place * (labels >= 0).float() + kind + (labels == PAD).float() * self.pad

    def _place(self, x: Tensor, y: Tensor) -> Tensor:
        """Positional encoding float32 [..., C] of coordinates [..., 1] from -1 to 1."""
        # A sum, because a matrix product may be computed with fewer digits.
        angles = 2 * math.pi * (x * self.frequencies[0] + y * self.frequencies[1])
        return torch.cat([angles.sin(), angles.cos()], -1)

    def _transform(self, tokens: Tensor, pixels: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """SAM2's two-way transformer: tokens attend to each other and to the image, the image to the tokens."""
        transformer, origin = self.decoder.transformer, tokens
        positions = self._place(self.pixel_units[None, :, None], self.pixel_units[:, None, None])
        positions = positions.flatten(0, 1).unsqueeze(0).to(self.dtype)
        for layer in transformer.layers:
            if layer.skip_first_layer_pe:
                tokens = attend(layer.self_attn, tokens, tokens, tokens, bias)
            else:
                placed = tokens + origin
                tokens = tokens + attend(layer.self_attn, placed, placed, tokens, bias)
            tokens = layer.layer_norm1(tokens)
            keys = pixels + positions
            tokens = tokens + read_pixels(layer.cross_attn_token_to_image, tokens + origin, keys, pixels)
            tokens = layer.layer_norm2(tokens)
            tokens = layer.layer_norm3(tokens + layer.mlp(tokens))
            pixels = pixels + write_pixels(layer.cross_attn_image_to_token, keys, tokens + origin, tokens, bias)
            pixels = layer.layer_norm4(pixels)
        tokens, origin = (values[:, : len(self.tokens)] for values in (tokens, origin))  # without the prompt's tokens
        seen = read_pixels(transformer.final_attn_token_to_image, tokens + origin, pixels + positions, pixels)
        return transformer.layer_norm_final_attn(tokens + seen), pixels

    def _upscale(self, pixels: Tensor, high_res_0: Tensor, high_res_1: Tensor) -> Tensor:
        """The finest map in blocks, [N, 16*h*h, C/8], from pixels [N, h*h, C] (`layout`)."""
        decoder, norm = self.decoder, self.decoder.upscale_layer_norm
        finer = (pixels @ self.enlarge_1 + high_res_1).unflatten(2, (4, -1))
        finer = decoder.activation(F.layer_norm(finer, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
        finest = decoder.activation(finer.flatten(1, 2) @ self.enlarge_0 + high_res_0)
        return finest.unflatten(2, (4, -1)).flatten(1, 2)

    def _choose(self, tokens: Tensor, all_iou: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mask [N, 1, 4h, 4h], its predicted IoU [N, 1], and the token [N, C] for the object pointer.

        Only candidate masks are computed: each costs a product with the whole upscaled image.
        """
        decoder, drawing = self.decoder, self.decoder.output_hypernetworks_mlps
        if not self.multimask and not decoder.dynamic_multimask_via_stability:
            return self._draw(drawing[0](tokens[:, 0]), pixels), all_iou[:, :1], tokens[:, 0]
        # One-hot products instead of Gather, for which engines have no fast kernels.
        several = all_iou[:, 1:]
        chosen = (torch.arange(several.shape[1]) == several.argmax(1, keepdim=True)).to(self.dtype).unsqueeze(1)
        brushes = torch.stack([drawing[index](tokens[:, index]) for index in range(1, tokens.shape[1])], 1)
        best_mask = self._draw((chosen @ brushes)[:, 0], pixels)
        best_iou = (chosen[:, 0] * several).sum(1, keepdim=True)
        if self.multimask:
            return best_mask, best_iou, (chosen @ tokens[:, 1:])[:, 0]
        single = self._draw(drawing[0](tokens[:, 0]), pixels)
        stable = self._is_stable(single)
        mask = torch.where(stable[:, :, None, None], single, best_mask)
        return mask, torch.where(stable, all_iou[:, :1], best_iou), tokens[:, 0]

    def _draw(self, brush: Tensor, pixels: Tensor) -> Tensor:
        """Logits [N, 1, 4h, 4h] of brush [N, C/8]."""
        return to_rows(pixels @ brush.unsqueeze(2), self.side)

    def _is_stable(self, logits: Tensor) -> Tensor:
        """bool [N, 1]: whether the mask stays about the same when its threshold changes a little."""
        delta = self.decoder.dynamic_multimask_stability_delta
        flat = logits.flatten(2)
        # float32: float16 cannot count the pixels of a mask.
        inner, outer = ((flat > level).float().sum(2) for level in (delta, -delta))
        return (inner >= self.decoder.dynamic_multimask_stability_thresh * outer) | (outer == 0)

"""The embedded reasoner's architecture: a Qwen2.5-VL of about four million parameters, and its files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from reasonseg_ros.training.reasoner.tokenizer import CHAT_TEMPLATE, END, IMAGE, IMAGE_END, IMAGE_START, MAX_NUMBER, PAD

if TYPE_CHECKING:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2Tokenizer,
    )

IMAGE_WH = (224, 168)
PATCH_PX = 14
MERGE = 2
TOKEN_PX = PATCH_PX * MERGE
GRID_WH = (IMAGE_WH[0] // TOKEN_PX, IMAGE_WH[1] // TOKEN_PX)
IMAGE_TOKENS = GRID_WH[0] * GRID_WH[1]

_HEAD = 64
_VISION = {"depth": 4, "hidden_size": 160, "intermediate_size": 480, "num_heads": 5}
_TEXT = {"num_hidden_layers": 5, "hidden_size": 192, "intermediate_size": 512}


def build_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    from transformers import Qwen2_5_VLConfig

    token_id = tokenizer.convert_tokens_to_ids
    hidden = _TEXT["hidden_size"]
    return Qwen2_5_VLConfig(
        text_config={
            **_TEXT,
            "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
            "num_attention_heads": hidden // _HEAD,
            "num_key_value_heads": 1,
            "max_position_embeddings": 4096,
            # A low base and interleaved sections, so that the few positions across an image differ clearly in phase.
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 100.0,
                "mrope_section": [2, 3, 3] * (_HEAD // 16),
            },
            "bos_token_id": token_id(PAD),
            "eos_token_id": token_id(END),
            "pad_token_id": token_id(PAD),
            "rms_norm_eps": 1e-6,
        },
        vision_config={
            **_VISION,
            "out_hidden_size": hidden,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
            "window_size": 112,
            "fullatt_block_indexes": list(range(_VISION["depth"])),
        },
        image_token_id=token_id(IMAGE),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id(IMAGE_START),
        vision_end_token_id=token_id(IMAGE_END),
        tie_word_embeddings=True,
    )


def number_ids(tokenizer: Qwen2Tokenizer) -> torch.Tensor:
    """Token of each pixel coordinate 0 ... MAX_NUMBER. int64 [MAX_NUMBER + 1]."""
    return torch.tensor([tokenizer.convert_tokens_to_ids(str(number)) for number in range(MAX_NUMBER + 1)])


def build_model(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    """An untrained model. Number tokens start as a Fourier code of their value, so that near numbers are similar."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration(build_config(tokenizer))
    weight = model.get_input_embeddings().weight
    numbers = number_ids(tokenizer)
    width = weight.shape[1]
    frequency = torch.arange(1, width // 4 + 1) * 0.5
    phase = torch.arange(len(numbers))[:, None] / len(numbers) * frequency * math.pi
    amplitude = frequency.rsqrt()
    code = torch.cat([phase.sin() * amplitude, phase.cos() * amplitude], 1).repeat(1, 2)
    with torch.no_grad():
        weight[numbers] = 0.5 * weight[numbers] + 0.02 * code
    return model


def build_processor(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLProcessor:
    """The model's processor. It resizes every 4:3 image to IMAGE_WH."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    pixels = IMAGE_WH[0] * IMAGE_WH[1]
    # A margin on both sides, so that rounding to whole tokens gives IMAGE_WH.
    size = {"shortest_edge": pixels * 15 // 16, "longest_edge": pixels * 17 // 16}
    patches = {"patch_size": PATCH_PX, "merge_size": MERGE, "temporal_patch_size": 2}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, **patches),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size, **patches),
        chat_template=CHAT_TEMPLATE,
    )


def save_published(
    folder: Path, model: Qwen2_5_VLForConditionalGeneration, tokenizer: Qwen2Tokenizer, state: dict[str, Any]
) -> None:
    """Write the layout of a published checkpoint, with the weights of `state` in place of the model's own."""
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config.do_sample = False
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids(PAD)
    model.save_pretrained(folder, state_dict=state)
    build_processor(tokenizer).save_pretrained(folder)

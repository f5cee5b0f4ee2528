"""Qwen2.5-VL in its published shapes with random weights, made on the device itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from transformers import AutoProcessor, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.table.sam2_shapes import picture_with_prompts
from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.local import reasoner as local
from reasonseg_ros.reasoner.speaking import Speech
from reasonseg_ros.types import Answer, Frame, Grounding, Status


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. Both published models have the same vision tower.

    Attributes:
        mrope: sections of the rotary positions, which add up to half the size of a head.
        image_wh: the size that images are squashed to.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    key_heads: int
    intermediate: int
    vocabulary: int
    tied: bool
    mrope: tuple[int, ...] = (16, 24, 24)
    vision_depth: int = 32
    vision_hidden: int = 1280
    vision_heads: int = 16
    vision_intermediate: int = 3420
    image_wh: tuple[int, int] = (840, 840)


# From the config.json of the published checkpoints.
BY_NAME = {
    "3B": Shape("Qwen2.5-VL-3B", 2048, 36, 16, 2, 11008, 151936, tied=True),
    "7B": Shape("Qwen2.5-VL-7B", 3584, 28, 28, 4, 18944, 152064, tied=False),
}


def random_model(shape: Shape, device: str, dtype: torch.dtype) -> Any:
    """A model that practically never ends an answer: its end token is one of the whole vocabulary."""
    card = load_card("tabletop-reasoner", "reasoner")
    known = Qwen2_5_VLConfig.from_pretrained(card.source)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": shape.vocabulary, "hidden_size": shape.hidden, "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.key_heads, "max_position_embeddings": 32768, "use_sliding_window": False,
            "bos_token_id": shape.vocabulary - 2, "eos_token_id": shape.vocabulary - 1,
            "pad_token_id": shape.vocabulary - 2, "tie_word_embeddings": shape.tied,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": list(shape.mrope)},
        },
        vision_config={
            "depth": shape.vision_depth, "hidden_size": shape.vision_hidden, "num_heads": shape.vision_heads,
            "intermediate_size": shape.vision_intermediate, "out_hidden_size": shape.hidden,
            "fullatt_block_indexes": list(range(shape.vision_depth // 4 - 1, shape.vision_depth, 8)),
        },
        image_token_id=known.image_token_id, video_token_id=known.video_token_id,
        vision_start_token_id=known.vision_start_token_id, vision_end_token_id=known.vision_end_token_id,
        tie_word_embeddings=shape.tied,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.generation_config.eos_token_id = shape.vocabulary - 1
    model.generation_config.pad_token_id = shape.vocabulary - 2
    return model.eval().requires_grad_(False).to(device)


def processor_of(shape: Shape) -> Any:
    """The embedded checkpoint's processor, whose tokens are a part of the vocabulary, for this image size."""
    processor = AutoProcessor.from_pretrained(load_card("tabletop-reasoner", "reasoner").source)
    pixels = shape.image_wh[0] * shape.image_wh[1]
    processor.image_processor.size = {"shortest_edge": pixels, "longest_edge": pixels}
    return processor


def image_inputs(shape: Shape, model: Any) -> Any:
    """The model's inputs for a question about a made-up image."""
    processor = processor_of(shape)
    rgb, _ = picture_with_prompts(shape.image_wh)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "the red thing"}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=[rgb], return_tensors="pt")
    return inputs.to(model.device, dtype=model.dtype)


def token_bytes(model: Any, length: int) -> int:
    """Bytes that the model reads for one token after `length` others: weights, keys and values."""
    language, head = model.model.language_model, model.lm_head
    # Only one row of the embeddings is read. If they are also the head, they are counted as the head.
    read = [weight for name, weight in language.named_parameters() if "embed_tokens" not in name] + [head.weight]
    config = model.config.text_config
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    weights = sum(weight.numel() for weight in read)
    return int(weights * head.weight.element_size() + kept * length * model.dtype.itemsize)


class Pointing(local.LocalReasoner):
    """The real reasoner with a random model. It points at the same target whatever the tokens are."""

    target = Grounding(np.array([450, 300, 700, 560]), np.array([[520, 400], [610, 470]]))

    def __init__(self, shape: Shape, model: Any, new_tokens: int) -> None:
        card = load_card("seg-zero-7b", "reasoner")
        self.new_tokens = new_tokens
        config = ReasonerConfig(device=str(model.device), max_new_tokens=new_tokens)
        with patch.object(local, "load_checkpoint", lambda *_: (processor_of(shape), model)):
            super().__init__(card, config)
        self.name = f"shape of {shape.name}"

    def plain_inputs(self, frame: Frame, question: str) -> Any:
        """Arguments of `generate` in a user's code."""
        return self._inputs([self._words(self.messages(question))], [self.shown(frame)])[0]

    def parsed(self, frame: Frame, speech: Speech, limits: Any) -> Answer:
        return Answer(Status.OK, groundings=(self.target,), tokens=speech.tokens)

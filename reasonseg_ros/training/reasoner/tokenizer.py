"""A small Qwen2 tokenizer: byte-level BPE, with whole tokens for numbers and the fixed parts of answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

PAD, END = "<|endoftext|>", "<|im_end|>"
IMAGE, IMAGE_START, IMAGE_END = "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"
SPECIAL_TOKENS = (
    PAD, "<|im_start|>", END, "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|quad_start|>", "<|quad_end|>", IMAGE_START, IMAGE_END, "<|vision_pad|>", IMAGE, "<|video_pad|>",
)  # fmt: skip

ITEMS_OPEN, ITEMS_NEXT, ITEMS_POINT, ITEMS_CLOSE = '[{"bbox_2d":[', ']},{"bbox_2d":[', '],"point_2d":[', "]}]"
NO_ITEMS = "[]"
THINK, THOUGHT_END, ANSWER_END = "<think>", "</think><answer>", "</answer>"
ANSWER_TOKENS = (
    THINK, THOUGHT_END, ANSWER_END, ITEMS_OPEN, ITEMS_NEXT, ITEMS_POINT, ITEMS_CLOSE, NO_ITEMS
)  # fmt: skip

MAX_FRAMES = 8
FRAME_OPEN = tuple(f'[{{"frame_idx":{number},"object description":"the' for number in range(1, MAX_FRAMES + 1))
FRAME_CLOSE = '"}]'
FRAME_TOKENS = (*FRAME_OPEN, FRAME_CLOSE)
"""Answers of round 1 about a video: the number of the keyframe, from 1, and the description of the target."""

MAX_NUMBER = 224
"""The largest pixel coordinate: the width of the model's image, because x2 is exclusive."""

SYSTEM_LINE = "You are a helpful assistant."

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n" + SYSTEM_LINE + "<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(corpus: Iterable[str], vocabulary: int = 1200) -> Qwen2Tokenizer:
    """Learn up to `vocabulary` pieces from `corpus`, including the 256 bytes, so that any text can be encoded."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    chat = f"{SYSTEM_LINE} system user assistant"
    learner.train_from_iterator([chat] * 50 + list(corpus), trainer)
    pieces = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=pieces["vocab"], merges=[tuple(merge) for merge in pieces["merges"]], model_max_length=4096
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS[1:])})
    numbers = [str(number) for number in range(10, MAX_NUMBER + 1)]
    whole = [*ANSWER_TOKENS, *numbers, *FRAME_TOKENS]
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in whole])
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.eos_token = END
    return tokenizer

"""A cache of frames that the model has read: another question about one of them reads only the question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from reasonseg_ros.images.memory import ImageMemory
from reasonseg_ros.reasoner.local.decoding import FastDecoder, Prefill
from reasonseg_ros.types import RgbImage

MakeInputs = Callable[[str], tuple[Any, list[tuple[int, int]]]]
"""The model's inputs for a chat's words and its image, and the size in which the model sees the image."""


@dataclass(frozen=True, eq=False)
class CachedFrame:
    """A chat about one image that the model has read.

    Attributes:
        head: its text up to and including the image's mark.
        head_length: number of tokens of the head.
    """

    head: str
    head_length: int
    prompt: Prefill
    seen_wh: list[tuple[int, int]]


class KeptFrames:
    """Keys and values of at most `images` images and `max_bytes`. Not thread-safe."""

    def __init__(self, decoder: FastDecoder, processor: Any, images: int, max_bytes: float) -> None:
        self._decoder = decoder
        self._tokenizer = processor.tokenizer
        self._image_mark = processor.image_token
        self._image_token = processor.image_token_id
        self._readings: ImageMemory[CachedFrame] = ImageMemory(images, max_bytes)

    def read(self, rgb: RgbImage, words: str, make_inputs: MakeInputs) -> CachedFrame:
        """Read a chat about one image. The beginning that it shares with the cached chat is not read again."""
        known = self._readings.get(rgb)
        if known is None or not words.startswith(known.head):
            reading = self._read_all(words, make_inputs)
        else:
            reading = replace(known, prompt=self._continued(known, words[len(known.head) :]))
        self._readings.put(rgb, reading, reading.prompt.size_bytes)
        return reading

    def prepare(self, rgb: RgbImage, words: str, make_inputs: MakeInputs) -> None:
        """Read `words`, the common beginning of chats about this image, in advance. Without the image, do nothing."""
        if self._readings.images and self._readings.get(rgb) is None and self._image_mark in words:
            self.read(rgb, words, make_inputs)

    def clear(self) -> None:
        """Release the memory."""
        self._readings.clear()

    def _read_all(self, words: str, make_inputs: MakeInputs) -> CachedFrame:
        inputs, seen_wh = make_inputs(words)
        head, mark, _ = words.rpartition(self._image_mark)
        tokens = inputs["input_ids"][0].tolist()
        head_length = len(tokens) - tokens[::-1].index(self._image_token)
        return CachedFrame(head + mark, head_length, self._decoder.prefill(inputs), seen_wh)

    def _continued(self, known: CachedFrame, words: str) -> Prefill:
        # The image's mark is a token by itself, so the words after it can be tokenized alone.
        tail = self._tokenizer(words, add_special_tokens=False)["input_ids"]
        before = known.prompt.tokens[0, known.head_length :].tolist()
        # The last token is always read, because its logits are not cached.
        most = min(len(before), len(tail) - 1)
        shared = next((index for index in range(most) if before[index] != tail[index]), most)
        prompt: Prefill = self._decoder.extended(known.prompt, known.head_length + shared, tail[shared:])
        return prompt

"""A vision-language checkpoint in this process, through transformers."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ModelError, OutOfMemory
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.abilities import Ability, Exploration
from reasonseg_ros.reasoner.call import WAIT, Call, ignore, never
from reasonseg_ros.reasoner.image_size import check_pixel_limits
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.local.checkpoint import load_checkpoint
from reasonseg_ros.reasoner.local.decoding import FastDecoder, unsuited
from reasonseg_ros.reasoner.local.exploring import attention_of, can_attend, sampled_rows
from reasonseg_ros.reasoner.local.generation import DecodedRow, GoOn, PlainDecoder, end_tokens
from reasonseg_ros.reasoner.local.interruption import InterruptedPrefill, interruptible
from reasonseg_ros.reasoner.local.kept_frames import KeptFrames, MakeInputs
from reasonseg_ros.reasoner.speaking import Messages, SpeakingReasoner, Speech
from reasonseg_ros.reasoner.sureness import thought_entropy, thought_length
from reasonseg_ros.torch_device import choose_device, use_threads
from reasonseg_ros.types import Answer, FloatArray, Frame, RgbImage, Status

_LOG = logging.getLogger(__name__)
_TRIAL_PX, _TRIAL_S = 112, 600.0
_ANY = "{query}"  # stands for any question


class LocalReasoner(SpeakingReasoner):
    """One loaded checkpoint. Greedy, so the same frame and question get the same answer. Not thread-safe.

    Raises ModelError if the checkpoint is missing, damaged, or of another kind; ConfigError if settings contradict the
    card, or the device is missing.
    """

    has_batches = True

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        super().__init__(card, config)
        self.device = choose_device(config.device)
        if self.device.type == "cpu":
            use_threads(config.threads)
        check_pixel_limits(card, config)
        self.processor, self.model = load_checkpoint(card, config, self.device)
        self._ends = end_tokens(self.model)
        can = can_attend(self.model)
        self.abilities = frozenset((Ability.SAMPLES, Ability.REPLIES, *((Ability.ATTENTION,) if can else ())))
        self._decoder: PlainDecoder | FastDecoder
        self._kept: KeptFrames | None = None
        if reason := unsuited(self.model):
            _LOG.warning("%s decodes through transformers' generate, which is slower: %s", self.name, reason)
            self._decoder = PlainDecoder(self.model)
        else:
            self._decoder = FastDecoder(self.model)
            self._kept = KeptFrames(self._decoder, self.processor, config.kept_frames, config.kept_mb * 1_000_000)
        self._try_out()

    def prepare(self, frame: Frame) -> None:
        """Read the frame, and the part of the prompt before the question, in advance."""
        if self._kept is not None:
            kept, before = self._kept, self._words(self.messages(_ANY)).partition(_ANY)[0]
            # What fails here fails when a question comes, and is reported then.
            self.guarded(lambda: kept.prepare(frame.rgb, before, self._inputs_about(frame)), lambda failed: None)

    def answer_batch(self, frames: Sequence[Frame], texts: Sequence[str], call: Call = WAIT) -> list[Answer]:
        """Decodes the questions together: higher throughput, higher latency.

        Sums are rounded in another order than for a single question. In rare cases a token, and with it the answer,
        differs from that of `answer`.
        """
        limits = Limits.of(replace(call, cancelled=never, on_text=ignore), self.card, self.config)
        limits = replace(limits, time_limit_s=limits.time_limit_s * max(len(texts), 1))
        questions = [limits.begin(text, self.name) for text in texts]
        asked = [
            (frame, question) for frame, question in zip(frames, questions, strict=True) if isinstance(question, str)
        ]
        if not asked:
            return [question for question in questions if isinstance(question, Answer)]

        def ask() -> list[Answer]:
            chats = [(self.messages(question), [self.shown(frame)]) for frame, question in asked]
            speeches = self.say_batch(chats, limits)
            return [self.parsed(frame, speech, limits) for (frame, _), speech in zip(asked, speeches, strict=True)]

        answers = iter(self.guarded(ask, lambda failed: [failed] * len(asked)))
        return [question if isinstance(question, Answer) else next(answers) for question in questions]

    def say(self, messages: Messages, images: Sequence[RgbImage], limits: Limits) -> Speech:
        return self._speak([(messages, images)], limits)[0]

    def say_batch(self, chats: Sequence[tuple[Messages, Sequence[RgbImage]]], limits: Limits) -> list[Speech]:
        """`say` for several chats together."""
        return self._speak(chats, limits)

    def release(self) -> None:
        if self._kept is not None:
            self._kept.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def is_no_memory(self, error: BaseException) -> bool:
        return isinstance(error, torch.OutOfMemoryError) or super().is_no_memory(error)

    def _try_out(self) -> None:
        """Decode one token about a small image, so that what cannot work fails while loading. Raises ModelError."""
        user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "ready?"}]}
        image = np.full((_TRIAL_PX, _TRIAL_PX, 3), 127, np.uint8)

        def fail(answer: Answer) -> Speech:
            kind = OutOfMemory if answer.status is Status.OUT_OF_MEMORY else ModelError
            raise kind(f"reasoner {self.name} cannot answer: {answer.error}")

        self.guarded(lambda: self.say([user], [image], Limits(1, _TRIAL_S)), fail)

    def say_about(self, frame: Frame, question: str, limits: Limits) -> Speech:
        messages = self.messages(question)
        if not isinstance(self._decoder, FastDecoder) or self._kept is None:
            return self.say(messages, [self.shown(frame)], limits)
        try:
            with interruptible(self.model, limits.broken):
                reading = self._kept.read(frame.rgb, self._words(messages), self._inputs_about(frame))
        except InterruptedPrefill as interrupted:
            return _unread([], interrupted.status)
        return self._spoken(partial(self._decoder.continued, reading.prompt), [reading.seen_wh], limits)[0]

    def say_around(
        self, frame: Frame, question: str, wanted: Exploration, limits: Limits
    ) -> tuple[list[Speech], FloatArray | None]:
        """The samples are decoded together, by transformers; the attention takes another forward pass."""
        speech = self.say_about(frame, question, limits)
        if speech.broken:
            return [speech], None
        inputs, seen_wh = self._inputs_about(frame)(self._words(self.messages(question)))
        speeches = [speech]
        if wanted.samples:
            decode = partial(sampled_rows, self.model, inputs, wanted)
            silent = replace(limits, on_text=ignore)
            speeches += self._spoken(decode, [seen_wh] * wanted.samples, silent)
        if not wanted.attention:
            return speeches, None
        thought = thought_length(speech.ids, self._text)
        return speeches, attention_of(self.model, inputs, speech.ids, thought)

    def _speak(self, chats: Sequence[tuple[Messages, Sequence[RgbImage]]], limits: Limits) -> list[Speech]:
        words = [self._words(messages) for messages, _ in chats]
        inputs, seen_wh = self._inputs(words, [rgb for _, images in chats for rgb in images])
        sizes = iter(seen_wh)
        by_chat = [[next(sizes) for _ in images] for _, images in chats]
        return self._spoken(partial(self._decoder.decode, inputs), by_chat, limits)

    def _spoken(
        self,
        decode: Callable[[int, GoOn], list[DecodedRow]],
        seen_wh: list[list[tuple[int, int]]],
        limits: Limits,
    ) -> list[Speech]:
        """The result of `decode`, a row for each chat. Limits are checked between layers of the prefill, then between
        tokens."""
        broken: Status | None = None

        def go_on(rows: list[list[int]]) -> bool:
            nonlocal broken
            stop_interrupting()
            if limits.has_listener:
                # A character of several tokens shows as a replacement character until its last one.
                limits.on_text(self._text(rows[0]).rstrip("\ufffd"), len(rows[0]))
            broken = limits.broken()
            return broken is None

        try:
            with interruptible(self.model, limits.broken) as stop_interrupting:
                decoded = decode(limits.max_new_tokens, go_on)
        except InterruptedPrefill as interrupted:
            return [_unread(sizes, interrupted.status) for sizes in seen_wh]
        speeches = []
        for found, sizes in zip(decoded, seen_wh, strict=True):
            row = found.tokens
            ended = row[-1] in self._ends
            cut = not ended and len(row) >= limits.max_new_tokens
            entropy_nats = thought_entropy(row, found.entropies_nats, self._text)
            stopped = None if ended else broken
            likelihood = found.log_likelihood_nats
            speech = Speech(self._text(row), len(row), sizes, cut, stopped, entropy_nats, likelihood, tuple(row))
            speeches.append(speech)
        return speeches

    def _inputs_about(self, frame: Frame) -> MakeInputs:
        return lambda words: self._inputs([words], [self.shown(frame)])

    def _words(self, messages: Messages) -> str:
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _inputs(self, words: list[str], images: Sequence[RgbImage]) -> tuple[Any, list[tuple[int, int]]]:
        """The model's inputs, a row for each chat's text, and the size at which it sees each image."""
        pictures = [Image.fromarray(rgb) for rgb in images] or None
        several = len(words) > 1
        # A tokenizer file can hold the maximum length of a training. Prompts would be silently cut to it.
        options = {"padding": several, "padding_side": "left", "truncation": False, "return_tensors": "pt"}
        inputs = self.processor(text=words, images=pictures, **options)
        patch_px = self.processor.image_processor.patch_size
        grids = inputs["image_grid_thw"].tolist() if pictures else []
        seen_wh = [(columns * patch_px, rows * patch_px) for _, rows, columns in grids]
        return inputs.to(self.device, dtype=self.model.dtype), seen_wh

    def _text(self, tokens: list[int]) -> str:
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=True))


def _unread(seen_wh: list[tuple[int, int]], status: Status) -> Speech:
    """The reply to a prompt whose prefill was stopped."""
    return Speech("", 0, seen_wh, broken=status)

"""A vision-language checkpoint in this process, through transformers."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from reasonseg_ros.config import ReasonerConfig
from reasonseg_ros.errors import ModelError, OutOfMemory, ReasonSegError
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.call import WAIT, Call, ignore, never
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.reasoner.image_size import answer_wh, resize_rgb
from reasonseg_ros.reasoner.limits import Limits, failure
from reasonseg_ros.reasoner.local.checkpoint import check_pixel_limits, load_checkpoint
from reasonseg_ros.reasoner.local.decoding import FastDecoder, unsuited
from reasonseg_ros.reasoner.local.generation import DecodedRow, GoOn, PlainDecoder, end_tokens
from reasonseg_ros.reasoner.local.kept_frames import KeptFrames, MakeInputs
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.prompts import chat, read_prompt
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe, parse_keyframe, round_messages, shown_wh
from reasonseg_ros.reasoner.sureness import thought_entropy
from reasonseg_ros.torch_device import choose_device, use_threads
from reasonseg_ros.types import Answer, Frame, RgbImage, Status

Messages = list[dict[str, Any]]
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_TRIAL_PX, _TRIAL_S = 112, 600.0
_ANY = "{query}"  # stands for any question
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Speech:
    """What the model said to one chat.

    Attributes:
        seen_wh: the size in which it saw each image, pixels.
        cut: the token limit was hit, so the end is missing.
        broken: CANCELLED or TIMEOUT where a limit stopped it.
        entropy_nats: summed over the tokens of the thought.
    """

    text: str
    tokens: int
    seen_wh: list[tuple[int, int]]
    cut: bool = False
    broken: Status | None = None
    entropy_nats: float | None = None


class LocalReasoner(Reasoner):
    """One loaded checkpoint. Greedy, so the same frame and question get the same answer. Not thread-safe.

    Raises ModelError where the checkpoint is missing, damaged, or of another kind; and ConfigError for settings that
    contradict the card, or a device that is not there.
    """

    has_batches = True

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        self.name = card.name
        self.card = card
        self.frames = card.frames
        self.config = config
        self.prompt = read_prompt(config.prompt_file) if config.prompt_file else ""
        self.device = choose_device(config.device)
        if self.device.type == "cpu":
            use_threads(config.threads)
        check_pixel_limits(card, config)
        self.processor, self.model = load_checkpoint(card, config, self.device)
        self._ends = end_tokens(self.model)
        self._decoder: PlainDecoder | FastDecoder
        self._kept: KeptFrames | None = None
        if reason := unsuited(self.model):
            _LOG.warning("%s decodes through transformers' generate, which is slower: %s", self.name, reason)
            self._decoder = PlainDecoder(self.model)
        else:
            self._decoder = FastDecoder(self.model)
            self._kept = KeptFrames(self._decoder, self.processor, config.kept_frames, config.kept_mb * 1_000_000)
        self._try_out()

    def answer(self, frame: Frame, text: str, call: Call = WAIT, **wishes: Any) -> Answer:
        """See `port.Reasoner`. `wishes` are fields of the call by keyword, for short scripts."""
        limits = Limits.of(replace(call, **wishes), self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return question

        def ask() -> Answer:
            return self._parsed(frame, self._say_about(frame, question, limits), limits)

        return self.guarded(ask, lambda failed: failed)

    def choose(self, frames: Sequence[Frame], text: str, call: Call = WAIT) -> Keyframe:
        limits = Limits.of(call, self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return failed_keyframe(question)

        def ask() -> Keyframe:
            size_wh = shown_wh(self.card)
            images = [resize_rgb(frame.rgb, size_wh) if size_wh else frame.rgb for frame in frames]
            messages = round_messages(self.card, question, [{"type": "image"}] * len(frames))
            speech = self.say(messages, images, limits)
            if speech.broken:
                return failed_keyframe(limits.stopped(speech.broken, speech.text, speech.tokens, self.name))
            return parse_keyframe(speech.text, len(frames), speech.cut, speech.tokens)

        return self.guarded(ask, failed_keyframe)

    def prepare(self, frame: Frame) -> None:
        """Read the frame ahead of any question, with what is the same for all of them."""
        if self._kept is not None:
            kept, before = self._kept, self._words(self._messages(_ANY)).partition(_ANY)[0]
            # What fails here fails when a question comes, and is told then.
            self.guarded(lambda: kept.prepare(frame.rgb, before, self._inputs_about(frame)), lambda failed: None)

    def answer_batch(self, frames: Sequence[Frame], texts: Sequence[str], call: Call = WAIT) -> list[Answer]:
        """DecodedRow together: more questions a second, each of them later.

        Sums are rounded in another order than for one question alone, so in rare cases a token, and with it the answer,
        differs from `answer`.
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
            chats = [(self._messages(question), [self._image(frame)]) for frame, question in asked]
            speeches = self.say_batch(chats, limits)
            return [self._parsed(frame, speech, limits) for (frame, _), speech in zip(asked, speeches, strict=True)]

        answers = iter(self.guarded(ask, lambda failed: [failed] * len(asked)))
        return [question if isinstance(question, Answer) else next(answers) for question in questions]

    def say(
        self, messages: Messages, images: Sequence[RgbImage], limits: Limits
    ) -> Speech:
        """The model's words to a chat whose `{"type": "image"}` entries are `images`, uint8 [H, W, 3], in turn.

        Raises whatever the libraries raise; `guarded` makes Answers of that.
        """
        return self._speak([(messages, images)], limits)[0]

    def say_batch(self, chats: Sequence[tuple[Messages, Sequence[RgbImage]]], limits: Limits) -> list[Speech]:
        """`say` for several chats together."""
        return self._speak(chats, limits)

    def guarded(self, ask: Callable[[], T], failed: Callable[[Answer], T]) -> T:
        """What `ask` gives, or what `failed` makes of the Answer that says why there is none."""
        try:
            return ask()
        # The libraries below raise all kinds of errors; the port promises an Answer.
        except Exception as error:
            status = Status.OUT_OF_MEMORY if _is_no_memory(error) else Status.FAILED
            reason = str(error) if isinstance(error, ReasonSegError) else f"{type(error).__name__}: {error}"
            answer = failure(status, reason[:500], self.name)
        # The error and the tensors in its frames are gone here, so that their memory can be given back.
        if self._kept is not None:
            self._kept.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return failed(answer)

    def _try_out(self) -> None:
        """One token about a small image, so that what cannot work is told while loading. Raises ModelError."""
        user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "ready?"}]}
        image = np.full((_TRIAL_PX, _TRIAL_PX, 3), 127, np.uint8)

        def fail(answer: Answer) -> Speech:
            kind = OutOfMemory if answer.status is Status.OUT_OF_MEMORY else ModelError
            raise kind(f"reasoner {self.name} cannot answer: {answer.error}")

        self.guarded(lambda: self.say([user], [image], Limits(1, _TRIAL_S)), fail)

    def _say_about(self, frame: Frame, question: str, limits: Limits) -> Speech:
        messages = self._messages(question)
        if not isinstance(self._decoder, FastDecoder) or self._kept is None:
            return self.say(messages, [self._image(frame)], limits)
        reading = self._kept.read(frame.rgb, self._words(messages), self._inputs_about(frame))
        return self._spoken(partial(self._decoder.continued, reading.prompt), [reading.seen_wh], limits)[0]

    def _speak(
        self, chats: Sequence[tuple[Messages, Sequence[RgbImage]]], limits: Limits
    ) -> list[Speech]:
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
        """What comes of `decode`, a row for each chat, watched between tokens."""
        broken: Status | None = None

        def go_on(rows: list[list[int]]) -> bool:
            nonlocal broken
            if limits.has_listener:
                # A character of several tokens shows as a replacement character until its last one.
                limits.on_text(self._text(rows[0]).rstrip("\ufffd"), len(rows[0]))
            broken = limits.broken()
            return broken is None

        speeches = []
        for found, sizes in zip(decode(limits.max_new_tokens, go_on), seen_wh, strict=True):
            row = found.tokens
            ended = row[-1] in self._ends
            cut = not ended and len(row) >= limits.max_new_tokens
            entropy_nats = thought_entropy(row, found.entropies_nats, self._text)
            speeches.append(Speech(self._text(row), len(row), sizes, cut, None if ended else broken, entropy_nats))
        return speeches

    def _parsed(self, frame: Frame, speech: Speech, limits: Limits) -> Answer:
        if speech.broken:
            return limits.stopped(speech.broken, speech.text, speech.tokens, self.name)
        answer = parse_answer(
            speech.text,
            frame.size_wh,
            dialect=self.card.dialect,
            answer_wh=answer_wh(self.card, speech.seen_wh[0]),
            strict=self.config.strict,
            cut=speech.cut,
        )
        return replace(answer, model=self.name, tokens=speech.tokens, entropy_nats=speech.entropy_nats)

    def _messages(self, question: str) -> Messages:
        return chat(self.card, question, {"type": "image"}, self.prompt)

    def _image(self, frame: Frame) -> RgbImage:
        """The frame's image in the size that the card wants."""
        return resize_rgb(frame.rgb, self.card.image_size_wh) if self.card.image_size_wh else frame.rgb

    def _inputs_about(self, frame: Frame) -> MakeInputs:
        return lambda words: self._inputs([words], [self._image(frame)])

    def _words(self, messages: Messages) -> str:
        return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def _inputs(self, words: list[str], images: Sequence[RgbImage]) -> tuple[Any, list[tuple[int, int]]]:
        """The model's inputs, a row for each chat's words, and the size in which it sees each image."""
        pictures = [Image.fromarray(rgb) for rgb in images] or None
        several = len(words) > 1
        inputs = self.processor(text=words, images=pictures, padding=several, padding_side="left", return_tensors="pt")
        patch_px = self.processor.image_processor.patch_size
        grids = inputs["image_grid_thw"].tolist() if pictures else []
        seen_wh = [(columns * patch_px, rows * patch_px) for _, rows, columns in grids]
        return inputs.to(self.device, dtype=self.model.dtype), seen_wh

    def _text(self, tokens: list[int]) -> str:
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=True))


def _is_no_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in _NO_MEMORY)

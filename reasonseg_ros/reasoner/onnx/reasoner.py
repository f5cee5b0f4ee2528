"""A vision-language checkpoint in this process, on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.images.memory import ImageMemory
from reasonseg_ros.images.resampling import resize_like_torchvision
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.abilities import Ability, Exploration
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.image_size import check_pixel_limits, resized_wh
from reasonseg_ros.reasoner.limits import Limits, failure
from reasonseg_ros.reasoner.onnx.choosing import Chooser
from reasonseg_ros.reasoner.onnx.exploring import GREEDY, Branch, grow
from reasonseg_ros.reasoner.onnx.manifest import read_reasoner_manifest
from reasonseg_ros.reasoner.onnx.text import ReadPrompt, TextModel
from reasonseg_ros.reasoner.onnx.vision import VisionModel
from reasonseg_ros.reasoner.onnx.words import Words
from reasonseg_ros.reasoner.speaking import Messages, SpeakingReasoner, Speech
from reasonseg_ros.reasoner.sureness import END_OF_THOUGHT, thought_entropy, thought_length
from reasonseg_ros.reasoner.thoughts import Thought
from reasonseg_ros.types import Answer, FloatArray, Frame, RgbImage, Status

_ANY = "any"
"""Stands for any question when an image is read ahead."""
_END_TOKENS = 12
"""The end of a thought has at most this many tokens."""


@dataclass(frozen=True)
class _Decoded:
    """`broken`: a limit stopped it. `cut`: it has the maximum number of tokens, and no end token."""

    tokens: list[int]
    entropies_nats: list[float]
    broken: Status | None
    cut: bool


class OnnxReasoner(SpeakingReasoner):
    """The graphs of `reasoner.onnx.manifest` with their tokenizer. It needs neither torch nor transformers.

    Keys and values of the last images are cached, so another question about one of them reads only the question.

    Raises ModelError if a file is missing or damaged, and ConfigError for settings that it does not support.
    """

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        super().__init__(card, config)
        check_config(config)
        check_pixel_limits(card, config)
        folder = Path(card.source)
        self.manifest = manifest = read_reasoner_manifest(folder)
        threads = config.threads or 1  # text: more threads wait for each other longer than they compute
        self._words = Words(folder, manifest.image_token)
        self._vision = VisionModel(folder, manifest, config.threads)
        self._text = TextModel(folder, manifest, threads)
        looks = (Ability.ATTENTION,) if manifest.attention_layers else ()
        self.abilities = frozenset((Ability.SAMPLES, Ability.REPLIES, *looks))
        self.state_width = manifest.text.width
        self._kept: ImageMemory[ReadPrompt] = ImageMemory(config.kept_frames, config.kept_mb * 1_000_000)

    def prepare(self, frame: Frame) -> None:
        """Read the frame in advance."""
        if self.config.kept_frames and self._kept.get(frame.rgb) is None:
            # What fails here fails when a question comes, and is reported then.
            self.guarded(lambda: self._read_about(frame, _ANY), lambda failed: None)

    def release(self) -> None:
        self._kept.clear()

    def say(self, messages: Messages, images: Sequence[RgbImage], limits: Limits) -> Speech:
        seen = [self._seen(rgb) for rgb in images]
        found = [self._vision.features(rgb) for rgb in seen]
        grids = [grid for _, grid in found]
        no_features = np.zeros((0, self.state_width), np.float32)
        features = np.concatenate([no_features, *(one for one, _ in found)])
        ids = self._words.tokens(self._words.chat(messages), grids)
        return self._spoken(ids, self._text.read(ids, grids, features), [_wh(rgb) for rgb in seen], limits)

    def say_about(self, frame: Frame, question: str, limits: Limits) -> Speech:
        ids, logits = self._read_about(frame, question)
        return self._spoken(ids, logits, [self._seen_wh(self.card.image_size_wh or frame.size_wh)], limits)

    def say_around(
        self, frame: Frame, question: str, wanted: Exploration, limits: Limits
    ) -> tuple[list[Speech], FloatArray | None]:
        ids, logits = self._read_about(frame, question)
        seen_wh = self._seen_wh(self.card.image_size_wh or frame.size_wh)
        broken: Status | None = None

        def go_on(branch: Branch) -> bool:
            nonlocal broken
            if limits.has_listener and GREEDY in branch.members:
                limits.on_text(self._so_far(branch.tokens), len(branch.tokens))
            broken = limits.broken()
            return broken is None

        most = self._most_tokens(ids, limits)
        branches = grow(self._text, self.manifest, ids, logits, wanted, most, go_on)
        speeches = []
        for branch in branches:
            said = list(branch.tokens)
            ended = said[-1] in self.manifest.end_tokens
            cut = not ended and len(said) >= most
            nats = thought_entropy(said, branch.entropies_nats, self._words.text)
            stopped = None if ended or cut else broken
            speech = Speech(
                self._words.text(said), len(said), [seen_wh], cut, stopped, nats, branch.log_likelihood_nats
            )
            speeches += [speech] * len(branch.members)
        if not wanted.attention:
            return speeches, None
        looks = branches[0].attention
        behind = looks[thought_length(branches[0].tokens, self._words.text) :] or looks
        mean: FloatArray = np.mean(behind, 0)
        token_px = self.manifest.vision.patch_px * self.manifest.vision.merge
        return speeches, mean.reshape(seen_wh[1] // token_px, seen_wh[0] // token_px)

    def think(self, frame: Frame, text: str, call: Call = WAIT) -> Thought | Answer:
        limits = Limits.of(call, self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return question

        def ask() -> Thought | Answer:
            prompt, logits = self._read_about(frame, question)
            seen = [(self._text.hidden, self._text.attention())]
            said = self._decode(prompt, logits, limits, seen)
            words = self._words.text(said.tokens)
            if said.broken:
                return limits.stopped(said.broken, words, len(said.tokens), self.name)
            if said.cut:
                error = "the thought does not end; raise max_new_tokens"
                return failure(Status.TRUNCATED, error, self.name, words, len(said.tokens))
            entropy_nats = float(sum(said.entropies_nats))
            image_features = self._text.image_features
            states, looks = (np.stack(parts) for parts in zip(*seen, strict=True))
            attention = looks.reshape(len(looks), *(image_features.shape[:2] if looks.size else (0, 0)))
            return Thought(words, len(said.tokens), states, image_features, attention, entropy_nats)

        return self.guarded(ask, lambda failed: failed)

    def _read_about(self, frame: Frame, question: str) -> tuple[list[int], FloatArray]:
        """The tokens of a question about a frame, and the logits of the first token of its answer."""
        chat = self._words.chat(self.messages(question))
        known = self._kept.get(frame.rgb)
        if known is not None:
            ids = self._words.tokens(chat, known.grids)
            logits = self._text.continued(known, ids)
        else:
            features, grid = self._vision.features(self._seen(self.shown(frame)))
            ids = self._words.tokens(chat, [grid])
            logits = self._text.read(ids, [grid], features)
        if self.config.kept_frames:
            kept = self._text.kept()
            self._kept.put(frame.rgb, kept, kept.size_bytes)
        return ids, logits

    def _spoken(
        self, prompt: Sequence[int], logits: FloatArray, seen_wh: list[tuple[int, int]], limits: Limits
    ) -> Speech:
        """Decode up to an end token or a limit. The limits are checked after each token."""
        said = self._decode(prompt, logits, limits)
        entropy_nats = thought_entropy(said.tokens, said.entropies_nats, self._words.text)
        return Speech(self._words.text(said.tokens), len(said.tokens), seen_wh, said.cut, said.broken, entropy_nats)

    def _decode(
        self,
        prompt: Sequence[int],
        logits: FloatArray,
        limits: Limits,
        seen: list[tuple[FloatArray, FloatArray]] | None = None,
    ) -> _Decoded:
        """The tokens after a prompt, up to the checkpoint's longest sequence.

        With `seen` only the thought is decoded, and its hidden states and attention are appended there.
        """
        chooser = Chooser(self.manifest.repetition_penalty, prompt)
        most = self._most_tokens(prompt, limits)
        said: list[int] = []
        entropies_nats: list[float] = []
        while True:
            token, entropy_nats = chooser.choose(logits)
            said.append(token)
            entropies_nats.append(entropy_nats)
            if limits.has_listener:
                limits.on_text(self._so_far(said), len(said))
            broken = limits.broken()
            ended = token in self.manifest.end_tokens
            if broken or ended or len(said) >= most:
                break
            logits = self._text.next(token)
            if seen is not None:
                seen.append((self._text.hidden, self._text.attention()))
                if END_OF_THOUGHT in self._words.text(said[-_END_TOKENS:]):
                    ended = True
                    break
        cut = not ended and len(said) >= most
        return _Decoded(said, entropies_nats, None if ended else broken, cut)

    def _most_tokens(self, prompt: Sequence[int], limits: Limits) -> int:
        """The token limit after a prompt: that of the call, at most up to the checkpoint's longest sequence."""
        return min(limits.max_new_tokens, self.manifest.text.longest - len(prompt))

    def _so_far(self, said: Sequence[int]) -> str:
        # A character of several tokens shows as a replacement character until its last one.
        return self._words.text(said).rstrip("\ufffd")

    def _seen(self, rgb: RgbImage) -> RgbImage:
        """An image as the checkpoint's processor resizes it."""
        return resize_like_torchvision(rgb, self._seen_wh(_wh(rgb)))

    def _seen_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        least = self.config.min_pixels or self.card.min_pixels or self.manifest.min_pixels
        most = self.config.max_pixels or self.card.max_pixels or self.manifest.max_pixels
        return resized_wh(size_wh, min_pixels=least, max_pixels=most)


def _wh(rgb: RgbImage) -> tuple[int, int]:
    return rgb.shape[1], rgb.shape[0]


def check_config(config: ReasonerConfig) -> None:
    """Raises ConfigError for settings that exported graphs do not support."""
    fixed = {"dtype": ("auto", "float32"), "attention": ("sdpa",), "quantization": ("none",)}
    for name, allowed in fixed.items():
        if getattr(config, name) not in allowed:
            raise ConfigError(
                f"reasoner.{name} = {getattr(config, name)!r}; exported graphs do not support it: leave it at "
                f"{allowed[0]!r}, or set reasoner.backend to local"
            )
    if config.device not in ("auto", "cpu"):
        raise ConfigError(f"reasoner.device = {config.device!r}; the exported reasoner runs on the CPU, set it to cpu")

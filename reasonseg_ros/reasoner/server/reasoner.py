"""A reasoner behind any OpenAI-compatible server (vLLM, llama.cpp, TensorRT-LLM, `transformers serve`).

The server knows the model by `reasoner.server_model`. Several robots can share one server.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import cv2

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.abilities import Ability, Exploration, Explored, Reply, check_abilities, failed_reply
from reasonseg_ros.reasoner.by_card import CardReasoner
from reasonseg_ros.reasoner.call import WAIT, Call, ignore
from reasonseg_ros.reasoner.chat.prompts import chat, reply_messages
from reasonseg_ros.reasoner.dialects.json_text import find_values
from reasonseg_ros.reasoner.dialects.parsing import take_apart
from reasonseg_ros.reasoner.image_size import image_tokens, resize_rgb, resized_wh
from reasonseg_ros.reasoner.limits import Limits, failure
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe, parse_keyframe, round_messages, shown_wh
from reasonseg_ros.reasoner.server.address import Server, completions_url, proxy_for, read_key, served_as
from reasonseg_ros.reasoner.server.talk import GREEDY_REQUEST, Talk
from reasonseg_ros.types import Answer, Frame, RgbImage, Status

_LOG = logging.getLogger(__name__)
_MOST_TALKS = 16
"""Requests that may be open at once. An abandoned one ends at once, unless the system is still resolving its host."""

_SAMPLES_AT_ONCE = 8
_NOT_SAID = (Status.UNAVAILABLE, Status.CANCELLED, Status.TIMEOUT)


class ServerReasoner(CardReasoner):
    """Asks a server. Whatever is wrong with it gives UNAVAILABLE with the reason; the next question tries again.

    Raises ConfigError for a `server_url` that is not an address, a key that is missing or cannot be sent, or a proxy in
    the environment that is not supported.
    """

    abilities = frozenset((Ability.SAMPLES, Ability.REPLIES))

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        super().__init__(card, config)
        url = completions_url(config.server_url)
        proxy_for(urlsplit(url))
        self.server = Server(url, read_key(config.server_key_variable), config.server_retries)
        self.served_as = served_as(card, config.server_model)
        self._talks: list[Talk] = []
        self._no_entropy = "" if config.server_logprobs else "reasoner.server_logprobs is off"

    def answer(self, frame: Frame, text: str, call: Call = WAIT, **wishes: Any) -> Answer:
        """See `port.Reasoner`. `wishes` are fields of the call by keyword, for short scripts."""
        limits = Limits.of(replace(call, **wishes), self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return question
        messages, seen_wh = self._about(frame, question)
        return self._asked(frame, messages, limits, seen_wh)

    def explore(self, frame: Frame, text: str, wanted: Exploration, call: Call = WAIT) -> Explored:
        """The samples are requested a few at a time in parallel, with seeds that count up from `wanted.seed`."""
        check_abilities(self.name, self.abilities, wanted.needs)
        limits = Limits.of(call, self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return Explored(question)
        messages, seen_wh = self._about(frame, question)
        answer = self._asked(frame, messages, limits, seen_wh)
        if not wanted.samples or answer.status is Status.UNAVAILABLE:
            return Explored(answer)
        silent = replace(limits, on_text=ignore)
        samples: list[Answer] = []
        for first in range(0, wanted.samples, _SAMPLES_AT_ONCE):
            seeds = range(wanted.seed + first, wanted.seed + min(first + _SAMPLES_AT_ONCE, wanted.samples))
            begun = [self._begun(messages, silent, {"temperature": wanted.temperature, "seed": seed}) for seed in seeds]
            samples += [self._answer(frame, self._heard(talk, silent), seen_wh) for talk in begun]
        return Explored(answer, tuple(sample for sample in samples if sample.status not in _NOT_SAID))

    def reply(
        self, images: Sequence[RgbImage], words: str, call: Call = WAIT, sampling: Mapping[str, Any] = GREEDY_REQUEST
    ) -> Reply:
        """See `port.Reasoner`. `sampling`: fields of the request that say how tokens are chosen and counted."""
        limits = Limits.of(call, self.card, self.config)
        entries = [_image_entry(resize_rgb(rgb, self._image_wh((rgb.shape[1], rgb.shape[0])))) for rgb in images]
        talk = self._heard(self._begun(reply_messages(self.card, words, entries), limits, sampling), limits)
        if isinstance(talk, Answer):
            return failed_reply(talk)
        tokens = talk.tokens if talk.is_counted else 0
        return Reply(Status.OK, talk.text, is_cut=talk.is_cut, tokens=tokens, prompt_tokens=talk.prompt_tokens)

    def _about(self, frame: Frame, question: str) -> tuple[list[dict[str, Any]], tuple[int, int]]:
        """The chat about a frame, and the size at which it is shown."""
        rgb = resize_rgb(frame.rgb, self._image_wh(frame.size_wh))
        return chat(self.card, question, _image_entry(rgb), self.prompt), (rgb.shape[1], rgb.shape[0])

    def _answer(self, frame: Frame, talk: Talk | Answer, seen_wh: tuple[int, int]) -> Answer:
        if isinstance(talk, Answer):
            return talk
        answer = self.read(talk.text, frame, seen_wh, talk.is_cut, talk.tokens)
        notes = [note for note in (answer.error, self._shrunk(talk.prompt_tokens, seen_wh)) if note]
        return replace(answer, error="; ".join(notes))

    def _shrunk(self, prompt_tokens: int, seen_wh: tuple[int, int]) -> str:
        """A note if the server counted fewer tokens than the image alone has; empty if it counts none."""
        expected = image_tokens(seen_wh, self.card.dialect)
        if self.card.coordinates == "relative_1000" or not 0 < prompt_tokens < expected:
            return ""
        return (
            f"the server counted {prompt_tokens} tokens for a prompt whose image of {seen_wh[0]}x{seen_wh[1]} pixels "
            f"has {expected}: if it shrinks images, boxes are in wrong places; try `reasonseg check-server`"
        )

    def choose(self, frames: Sequence[Frame], text: str, call: Call = WAIT) -> Keyframe:
        limits = Limits.of(call, self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return failed_keyframe(question)
        sizes = [shown_wh(self.card) or self._image_wh(frame.size_wh) for frame in frames]
        images = [_image_entry(resize_rgb(frame.rgb, size)) for frame, size in zip(frames, sizes, strict=True)]
        talk = self._talk(round_messages(self.card, question, images), limits)
        if isinstance(talk, Answer):
            return failed_keyframe(talk)
        return parse_keyframe(talk.text, len(frames), talk.is_cut, talk.tokens)

    def _asked(self, frame: Frame, messages: list[dict[str, Any]], limits: Limits, seen_wh: tuple[int, int]) -> Answer:
        """The greedy answer, with its entropy if the server lists log-probabilities."""
        talk = self._heard(self._begun(messages, limits, wants_entropy=not self._no_entropy), limits)
        answer = self._answer(frame, talk, seen_wh)
        if isinstance(talk, Answer):
            return answer
        if talk.refused_wish and not self._no_entropy:
            self._no_entropy = f"it gives no log-probabilities: {talk.refused_wish}"
            _LOG.warning("server %s: answers have no entropy, as %s", self.config.server_url, self._no_entropy)
        return replace(answer, entropy_nats=talk.entropy_nats, no_entropy=talk.no_entropy or self._no_entropy)

    def _talk(self, messages: list[dict[str, Any]], limits: Limits) -> Talk | Answer:
        """A finished talk, or the Answer that says why it failed."""
        return self._heard(self._begun(messages, limits), limits)

    def _begun(
        self,
        messages: list[dict[str, Any]],
        limits: Limits,
        sampling: Mapping[str, Any] = GREEDY_REQUEST,
        wants_entropy: bool = False,
    ) -> Talk | Answer:
        self._talks = [talk for talk in self._talks if talk.is_alive]
        if len(self._talks) >= _MOST_TALKS:
            return self._unavailable(f"{_MOST_TALKS} earlier requests to it have not ended; check the network")
        talk = Talk(self.server, self.served_as, messages, limits, sampling, wants_entropy)
        self._talks.append(talk)
        return talk

    def _heard(self, talk: Talk | Answer, limits: Limits) -> Talk | Answer:
        if isinstance(talk, Answer):
            return talk
        try:
            while (status := limits.broken()) is None and not talk.is_done:
                if talk.listen():
                    limits.on_text(talk.text, talk.tokens)
        finally:
            talk.stop()
        if status and (talk.error or not talk.is_done):
            stopped = limits.stopped(status, talk.text, talk.tokens, self.name)
            before = f"; before that: {talk.last_failure}" if talk.last_failure and status is Status.TIMEOUT else ""
            return replace(stopped, error=stopped.error + before)
        if not talk.error and not talk.is_finished and not talk.is_cut and _is_open(talk.text):
            talk.error = "its answer broke off without a finish reason; see the server's log"
        return self._unavailable(talk.error, talk.text, talk.tokens) if talk.error else talk

    def _unavailable(self, reason: str, text: str = "", tokens: int = 0) -> Answer:
        error = f"server {self.config.server_url}: {reason}"
        return failure(Status.UNAVAILABLE, error, self.name, text, tokens)

    def _image_wh(self, source_wh: tuple[int, int]) -> tuple[int, int]:
        """The size that is sent: one that the server's processor does not change."""
        card, config = self.card, self.config
        if card.image_size_wh:
            return card.image_size_wh
        least, most = config.min_pixels or card.min_pixels, config.max_pixels or card.max_pixels
        return resized_wh(source_wh, card.dialect, least, most)


def _is_open(text: str) -> bool:
    """Whether a text stops inside its thought, its answer or a value."""
    parts = take_apart(text)
    return parts.open_end or any(find_values(answer)[1] for answer in parts.answers)


def _image_entry(rgb: RgbImage) -> dict[str, Any]:
    # PNG is lossless, so the checkpoint sees the same image as it would locally.
    _, png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    url = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": url}}

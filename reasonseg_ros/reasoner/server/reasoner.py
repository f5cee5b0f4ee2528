"""A reasoner behind any OpenAI-compatible server (vLLM, llama.cpp, TensorRT-LLM, `transformers serve`).

The card's `source` is the name under which the server knows the model. Several robots can share one server.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import cv2

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.by_card import CardReasoner
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.reasoner.dialects.json_text import find_values
from reasonseg_ros.reasoner.dialects.parsing import take_apart
from reasonseg_ros.reasoner.image_size import resize_rgb, resized_wh
from reasonseg_ros.reasoner.limits import Limits, failure
from reasonseg_ros.reasoner.prompts import chat
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe, parse_keyframe, round_messages, shown_wh
from reasonseg_ros.reasoner.server.address import Server, completions_url, proxy_for, read_key
from reasonseg_ros.reasoner.server.talk import Talk
from reasonseg_ros.types import Answer, Frame, RgbImage, Status

_MOST_TALKS = 16
"""Requests that may be open at once. One that was given up ends at once, unless the system still looks up its host."""


class ServerReasoner(CardReasoner):
    """Asks a server. Whatever is wrong with it ends in UNAVAILABLE with the reason; the next question tries again.

    Raises ConfigError for a `server_url` that is no address, a key that is missing or cannot be sent, or a proxy in the
    environment that is not understood.
    """

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        super().__init__(card, config)
        url = completions_url(config.server_url)
        proxy_for(urlsplit(url))
        self.server = Server(url, read_key(config.server_key_variable), config.server_retries)
        self._talks: list[Talk] = []

    def answer(self, frame: Frame, text: str, call: Call = WAIT, **wishes: Any) -> Answer:
        """See `port.Reasoner`. `wishes` are fields of the call by keyword, for short scripts."""
        limits = Limits.of(replace(call, **wishes), self.card, self.config)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return question
        rgb = resize_rgb(frame.rgb, self._image_wh(frame.size_wh))
        talk = self._talk(chat(self.card, question, _image_entry(rgb), self.prompt), limits)
        if isinstance(talk, Answer):
            return talk
        return self.read(talk.text, frame, (rgb.shape[1], rgb.shape[0]), talk.is_cut, talk.tokens)

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

    def _talk(self, messages: list[dict[str, Any]], limits: Limits) -> Talk | Answer:
        """A talk that came to its end, or the Answer that says why it did not."""
        self._talks = [talk for talk in self._talks if talk.is_alive]
        if len(self._talks) >= _MOST_TALKS:
            return self._unavailable(f"{_MOST_TALKS} earlier requests to it have not ended; check the network")
        talk = Talk(self.server, self.card.source, messages, limits)
        self._talks.append(talk)
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
        """The size that is sent: the one the server's processor leaves as it is."""
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
    # PNG, as a lossy image would be another one than the checkpoint sees locally.
    _, png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    url = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": url}}

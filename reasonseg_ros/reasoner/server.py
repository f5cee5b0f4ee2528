"""A reasoner behind any OpenAI-compatible server (vLLM, llama.cpp, TensorRT-LLM, `transformers serve`).

The card's `source` is the name under which the server knows the model. Several robots can share one server.
"""

from __future__ import annotations

import base64
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import openai

from reasonseg_ros.config import ReasonerConfig
from reasonseg_ros.errors import ConfigError, ServerError
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.dialects import parse_answer
from reasonseg_ros.reasoner.image_size import answer_wh, resize_rgb, resized_wh
from reasonseg_ros.reasoner.limits import Limits, failure
from reasonseg_ros.reasoner.port import OnText
from reasonseg_ros.reasoner.prompts import chat, read_prompt
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe, parse_keyframe, round_messages, shown_wh
from reasonseg_ros.types import Answer, Frame, RgbImage, Status

_POLL_S = 0.02
_GRACE_S = 1.0
"""The connection gives up so much later than the time limit, so that it is always the limit that is told."""


class ServerReasoner:
    """Asks a server. Whatever is wrong with it ends in UNAVAILABLE with the reason; the next question tries again.

    Raises ConfigError where the key's environment variable is empty.
    """

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        self.name = card.name
        self.card = card
        self.frames = card.frames
        self.config = config
        self.prompt = read_prompt(config.prompt_file) if config.prompt_file else ""
        variable = config.server_key_variable
        key = os.environ.get(variable, "") if variable else "none"
        if not key:
            raise ConfigError(f"environment variable {variable!r} is empty; put the server's key into it")
        self.client = openai.OpenAI(base_url=config.server_url, api_key=key, max_retries=config.server_retries)

    def answer(
        self,
        frame: Frame,
        text: str,
        *,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] | None = None,
        max_new_tokens: int = 0,
        time_limit_s: float = 0.0,
    ) -> Answer:
        limits = Limits.configured(self.card, self.config, cancelled, max_new_tokens, time_limit_s)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return question
        rgb = resize_rgb(frame.rgb, self._image_wh(frame.size_wh))
        talk = self._talk(chat(self.card, question, _image_entry(rgb), self.prompt), limits, on_text)
        if isinstance(talk, Answer):
            return talk
        answer = parse_answer(
            talk.text,
            frame.size_wh,
            dialect=self.card.dialect,
            answer_wh=answer_wh(self.card, (rgb.shape[1], rgb.shape[0])),
            strict=self.config.strict,
            cut=talk.cut,
        )
        return replace(answer, model=self.name, tokens=talk.tokens)

    def choose(
        self,
        frames: Sequence[Frame],
        text: str,
        *,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] | None = None,
        max_new_tokens: int = 0,
        time_limit_s: float = 0.0,
    ) -> Keyframe:
        limits = Limits.configured(self.card, self.config, cancelled, max_new_tokens, time_limit_s)
        question = limits.begin(text, self.name)
        if isinstance(question, Answer):
            return failed_keyframe(question)
        sizes = [shown_wh(self.card) or self._image_wh(frame.size_wh) for frame in frames]
        images = [_image_entry(resize_rgb(frame.rgb, size)) for frame, size in zip(frames, sizes, strict=True)]
        talk = self._talk(round_messages(self.card, question, images), limits, on_text)
        if isinstance(talk, Answer):
            return failed_keyframe(talk)
        return parse_keyframe(talk.text, len(frames), talk.cut, talk.tokens)

    def _talk(self, messages: list[dict[str, Any]], limits: Limits, on_text: OnText | None) -> _Talk | Answer:
        """A talk that came to its end, or the Answer that says why it did not."""
        talk = _Talk(self.client, self.card.source, messages, limits)
        while (status := limits.broken()) is None and not talk.done:
            if talk.listen() and on_text:
                on_text(talk.text, talk.tokens)
        talk.stop()
        if status and (talk.error or not talk.done):
            return limits.stopped(status, talk.text, talk.tokens, self.name)
        if talk.error:
            reason = f"server {self.config.server_url}: {talk.error}"
            return failure(Status.UNAVAILABLE, reason, self.name, talk.text, talk.tokens)
        return talk

    def prepare(self, frame: Frame) -> None:
        """Nothing: what the server keeps of an image is its own affair."""

    def _image_wh(self, source_wh: tuple[int, int]) -> tuple[int, int]:
        """The size that is sent: the one the server's processor leaves as it is."""
        card, config = self.card, self.config
        if card.image_size_wh:
            return card.image_size_wh
        least, most = config.min_pixels or card.min_pixels, config.max_pixels or card.max_pixels
        return resized_wh(source_wh, card.dialect, least, most)


@dataclass(frozen=True)
class _End:
    """The last thing a talk's thread says: why there is no more text."""

    error: str = ""
    cut: bool = False


class _Talk:
    """One request, read in a thread of its own, so that cancelling does not wait for a silent server."""

    def __init__(self, client: openai.OpenAI, model: str, messages: list[Any], limits: Limits) -> None:
        self.text = ""
        self.tokens = 0
        self.done = False
        self.error = ""
        self.cut = False
        self._pieces: queue.SimpleQueue[str | _End] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._request: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "max_tokens": limits.max_new_tokens,
            "temperature": 0.0,
            "stream": True,
            "timeout": max(limits.remaining_s, 0.0) + _GRACE_S,
        }
        threading.Thread(target=self._read, args=(client,), name="reasoner-server", daemon=True).start()

    def listen(self) -> bool:
        """Take what has arrived, wait a moment where that is nothing. True where the text grew."""
        try:
            piece = self._pieces.get(timeout=_POLL_S)
        except queue.Empty:
            return False
        if isinstance(piece, _End):
            self.done, self.error, self.cut = True, piece.error, piece.cut
            return False
        self.text += piece
        self.tokens += 1
        return True

    def stop(self) -> None:
        """Have the thread hang up at the next token, which ends the server's work on this answer."""
        self._stopped.set()

    def _read(self, client: openai.OpenAI) -> None:
        try:
            self._pieces.put(self._end(client))
        # A thread must hand every error over; the client's transport raises its own kinds.
        except Exception as error:
            self._pieces.put(_End(_reason(error)))

    def _end(self, client: openai.OpenAI) -> _End:
        finish, said = None, False
        with client.chat.completions.create(**self._request) as stream:
            for chunk in stream:
                if self._stopped.is_set():
                    return _End("stopped")
                for choice in chunk.choices or ():
                    finish = choice.finish_reason or finish
                    if choice.delta and choice.delta.content:
                        said = True
                        self._pieces.put(choice.delta.content)
        if not said and finish is None:
            raise ServerError("it answered something else than a stream of completions; check server_url (…/v1)")
        return _End(cut=finish == "length")


def _reason(error: Exception) -> str:
    if isinstance(error, openai.APITimeoutError):
        return "it did not answer in time"
    if isinstance(error, openai.APIStatusError):
        return f"it refused with HTTP {error.status_code}: {error.message[:300]}"
    if isinstance(error, openai.APIConnectionError):
        return "it cannot be reached; start it, or check server_url"
    return f"{type(error).__name__}: {str(error)[:300]}"


def _image_entry(rgb: RgbImage) -> dict[str, Any]:
    # PNG, as a lossy image would be another one than the checkpoint sees locally.
    _, png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    url = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": url}}

"""The vision model: any OpenAI-compatible server, through the client with time and size limits."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.abilities import Reply
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner
from reasonseg_ros.reasoner.server.talk import COUNTED_REQUEST
from reasonseg_ros.types import RgbImage


class Model(Protocol):
    """A vision model. `name` and `sampling` are part of the key of a stored reply. Any thread may call `reply`."""

    name: str
    sampling: Mapping[str, Any]

    def reply(self, images: Sequence[RgbImage], words: str, call: Call) -> Reply: ...


@dataclass(frozen=True)
class ServerOptions:
    """The settings of requests to a server.

    Attributes:
        url: base address, for example http://127.0.0.1:8000/v1.
        model: the server's name for the model.
        key_variable: environment variable with the server's key; empty for none.
        temperature: sampling temperature, 0 to 2.
        most_tokens: maximum tokens of a reply.
        most_pixels: maximum pixels of an image; larger ones are scaled down.
        time_limit_s: time limit of a reply, seconds.
        retries: maximum retries after a temporary HTTP status, such as 429.

    Raises InvalidInput for a value out of range.
    """

    url: str
    model: str
    key_variable: str = ""
    temperature: float = 0.7
    most_tokens: int = 1500
    most_pixels: int = 1_003_520
    time_limit_s: float = 120.0
    retries: int = 3

    def __post_init__(self) -> None:
        if not self.model:
            raise InvalidInput("no model; give the server's name for it with --model")
        if not 0 <= self.temperature <= 2:
            raise InvalidInput(f"a temperature of {self.temperature:g}; expected 0 to 2")
        if not 16 <= self.most_tokens <= 32768:
            raise InvalidInput(f"replies of {self.most_tokens} tokens; expected 16 to 32768")
        if not 10_000 <= self.most_pixels <= 100_000_000:
            raise InvalidInput(f"images of {self.most_pixels} pixels; expected 10000 to 100000000")
        if not 0.1 <= self.time_limit_s <= 3600:
            raise InvalidInput(f"a time limit of {self.time_limit_s:g} s; expected 0.1 to 3600")
        if not 0 <= self.retries <= 10:
            raise InvalidInput(f"{self.retries} retries; expected 0 to 10")


@dataclass
class ServerModel:
    """A model behind a server, with a client for each thread. Raises ConfigError for a wrong address or key."""

    options: ServerOptions
    _clients: threading.local = field(default_factory=threading.local, repr=False)

    def __post_init__(self) -> None:
        self.name = self.options.model
        self.sampling: Mapping[str, Any] = {"temperature": self.options.temperature, **COUNTED_REQUEST}
        self._client()  # raises before the first request

    def reply(self, images: Sequence[RgbImage], words: str, call: Call) -> Reply:
        return self._client().reply(images, words, call, self.sampling)

    def _client(self) -> ServerReasoner:
        known: ServerReasoner | None = getattr(self._clients, "client", None)
        if known is None:
            options = self.options
            card = ModelCard(
                options.model, "reasoner", options.model, dialect="qwen2.5-vl", coordinates="resized",
                max_pixels=options.most_pixels, max_new_tokens=options.most_tokens,
            )  # fmt: skip
            config = ReasonerConfig(
                backend="server",
                server_url=options.url,
                server_key_variable=options.key_variable,
                server_model=options.model,
                server_retries=options.retries,
                time_limit_s=options.time_limit_s,
            )
            known = self._clients.client = ServerReasoner(card, config)
        return known

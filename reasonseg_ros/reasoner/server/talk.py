"""One request to a server, with retries, in a separate thread."""

from __future__ import annotations

import http.client
import json
import math
import queue
import random
import re
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.errors import ServerError
from reasonseg_ros.plain_text import LONGEST_TEXT
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.server.address import Server
from reasonseg_ros.reasoner.server.completion import (
    MOST_EVENT_BYTES,
    CompletionReader,
    Piece,
    joined,
    refusal_words,
    served_names,
)
from reasonseg_ros.reasoner.server.connection import READ_BYTES, Post
from reasonseg_ros.reasoner.server.failures import Refusal, reason_of, retry_after_s
from reasonseg_ros.reasoner.server.likelihoods import WISH, Likelihoods

_POLL_S = 0.02
_GRACE_S = 1.0
"""A read gives up this long after the time limit, so that the limit is what is reported."""
_AFTER_FINISH_S = 1.0
"""How long a server may take to close its stream after a finish reason; an error may still come."""
_MOST_REFUSAL_BYTES = 65536
_MOST_HEADER_BYTES = 1 << 20
_MOST_BYTES_PER_TOKEN = 16384
_LISTED_BYTES = 4096
"""For a token with its likeliest alternatives, in a body that is not a stream; a list of 20 takes about 2,000."""
_MOST_BODY_BYTES = 16 << 20
_MOST_CHARACTERS_PER_TOKEN = 128
_TRIED_AGAIN = (408, 429, 500, 502, 503, 504)
_NOT_UNDERSTOOD = (400, 422, 501)
"""Refusals of a request that may be accepted without log-probabilities."""
_LIST_S = 5.0
"""Longest time to fetch the list of served models."""
GREEDY_REQUEST = {"temperature": 0.0}
COUNTED_REQUEST = {"stream_options": {"include_usage": True}}
"""Asks for token counts, which most servers otherwise leave out of a stream."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0


@dataclass(frozen=True)
class _End:
    """The last message of a talk's thread: why there is no more text."""

    error: str = ""
    is_cut: bool = False
    is_finished: bool = True
    tokens: int = 0
    likelihoods: Likelihoods | None = None
    prompt_tokens: int = 0


class Talk:
    """A request in a thread, so that limits and cancellation work while a server is silent.

    Attributes:
        text: the text so far, with the thought, and with the key masked.
        tokens: the server's count, else the number of pieces received.
        is_counted, prompt_tokens: whether the server counted, and its count of the prompt; 0 if it gives none.
        is_done: no more text follows; `error` is the reason if that is a failure.
        is_cut: the token limit was hit.
        is_finished: the server gave a finish reason.
        last_failure: of the last try that failed.
        entropy_nats: of the thought, from `Likelihoods`; None if it is unknown, or was not requested.
        no_entropy: why it is unknown.
        refused_wish: why the server refused log-probabilities, after which it was asked without them; else empty.
    """

    def __init__(
        self,
        server: Server,
        model: str,
        messages: list[Any],
        limits: Limits,
        sampling: Mapping[str, Any] = GREEDY_REQUEST,
        wants_entropy: bool = False,
    ) -> None:
        """`sampling`: fields of the request that say how tokens are chosen."""
        self.text = ""
        self.tokens = 0
        self.is_counted = False
        self.prompt_tokens = 0
        self.is_done = False
        self.error = ""
        self.is_cut = False
        self.is_finished = True
        self.last_failure = ""
        self.entropy_nats: float | None = None
        self.no_entropy = ""
        self.refused_wish = ""
        self._wants_entropy = wants_entropy
        self._thought, self._content = "", ""
        self._server, self._limits = server, limits
        self._pieces: queue.SimpleQueue[Piece | _End] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._post: Post | None = None
        self._has_begun = False
        self._request = {
            "model": model,
            "messages": messages,
            "max_tokens": limits.max_new_tokens,
            **sampling,
            "stream": True,
        }
        self._deadline_s = time.monotonic() + max(limits.remaining_s, 0.0) + _GRACE_S
        self._thread = threading.Thread(target=self._read, name="reasoner-server", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def listen(self) -> bool:
        """Take the next piece; wait a moment if there is none. True if the text grew."""
        try:
            piece = self._pieces.get(timeout=_POLL_S)
        except queue.Empty:
            return False
        before = self.text
        if isinstance(piece, _End):
            self.is_done, self.error = True, piece.error
            self.is_cut, self.is_finished = piece.is_cut, piece.is_finished
            self.tokens, self.prompt_tokens = piece.tokens or self.tokens, piece.prompt_tokens
            self.is_counted = bool(piece.tokens and piece.prompt_tokens)
            self.text = self._server.masked(joined(self._thought, self._content, self.is_cut))
            if piece.likelihoods and not piece.error:
                self.entropy_nats = piece.likelihoods.entropy_nats(self._thought, self._content)
                self.no_entropy = piece.likelihoods.reason
            return self.text != before and self.text.startswith(before) and not self.error
        self._thought += piece.thought
        self._content += piece.content
        self.tokens += 1
        # A thought without content so far is treated as cut, because more follows.
        self.text = self._server.masked(joined(self._thought, self._content, is_cut=True), is_growing=True)
        return True

    def stop(self) -> None:
        """Hang up, which ends the thread, and the server's work on this answer."""
        self._stopped.set()
        if self._post:
            self._post.hang_up()

    def _read(self) -> None:
        try:
            end = self._ask_again()
        # Every error must reach the thread that waits for the answer.
        except Exception as error:
            end = _End(self._reason(error))
        self._pieces.put(end)

    def _ask_again(self) -> _End:
        tries = 0
        while True:
            tries += 1
            try:
                return self._ask()
            except (ServerError, OSError, http.client.HTTPException) as error:
                reason = self._reason(error)
                if self._wants_entropy and not self._has_begun and _is_of_the_wish(error, reason):
                    # A server that does not support log-probabilities may answer without them.
                    self._wants_entropy, self.refused_wish = False, reason
                    tries -= 1
                    continue
                if not self._stopped.is_set():  # otherwise hanging up caused it
                    self.last_failure = reason
                wait_s = self._wait_s(error, tries)
                if isinstance(error, Refusal) and error.may_be_unknown_model and not self._stopped.is_set():
                    reason += self._other_names()
            if wait_s is None or self._has_begun or self._stopped.is_set() or tries > self._server.retries:
                return _End(reason + (f" (asked {tries} times)" if tries > 1 else ""))
            if wait_s >= self._limits.remaining_s:
                limit = f"{self._limits.time_limit_s:g} s"
                return _End(f"{reason}; the next try, {wait_s:.3g} s later, is beyond the time limit of {limit}")
            if self._stopped.wait(wait_s):
                return _End(reason)

    def _wait_s(self, error: Exception, tries: int) -> float | None:
        """How long to wait before asking again, None if that does not help."""
        if isinstance(error, Refusal):
            if error.status not in _TRIED_AGAIN:
                return None
            if error.wait_s is not None:
                return error.wait_s
        elif isinstance(error, (ServerError, ssl.SSLCertVerificationError)):
            return None
        # Jitter, so that robots that share a server do not retry at the same time.
        return float(min(_FIRST_WAIT_S * 2 ** (tries - 1), _LONGEST_WAIT_S) * random.uniform(0.75, 1.0))

    def _ask(self) -> _End:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        body = json.dumps({**self._request, **(WISH | COUNTED_REQUEST if self._wants_entropy else {})}).encode()
        post = self._post = Post(self._server.url, body, headers | self._server.headers, self._deadline_s)
        try:
            if self._stopped.is_set():  # `stop` came before it could end this request
                raise ConnectionAbortedError("hung up")
            response = post.open()
            encoding = response.getheader("Content-Encoding", "identity").strip().lower()
            is_plain = encoding in ("", "identity")
            if response.status != 200:
                words = refusal_words(_first_bytes(response), self._server.shown) if is_plain else ""
                raise Refusal(response.status, words, retry_after_s(response.getheader("Retry-After")))
            if not is_plain:
                raise ServerError(f"it answered in {self._server.shown(encoding)}; turn its compression off")
            return self._listen(post, response)
        finally:
            post.close()

    def _listen(self, post: Post, response: http.client.HTTPResponse) -> _End:
        most_tokens = self._limits.max_new_tokens
        listed_bytes = most_tokens * _LISTED_BYTES if self._wants_entropy else 0
        most_bytes = min(MOST_EVENT_BYTES + listed_bytes, _MOST_BODY_BYTES)
        reader = CompletionReader(response.getheader("Content-Type", ""), self._server.shown, most_bytes)
        tokens, characters, received = 0, 0, 0
        most_characters = min(most_tokens * _MOST_CHARACTERS_PER_TOKEN, LONGEST_TEXT)
        finished_s = math.inf
        while not reader.ended:
            data = b"" if time.monotonic() > finished_s + _AFTER_FINISH_S else _next_bytes(response, finished_s)
            received += len(data)
            if received > _MOST_HEADER_BYTES + most_tokens * _MOST_BYTES_PER_TOKEN:
                raise ServerError(f"it sent {received >> 20} MiB for {most_tokens} tokens; hung up")
            for piece in reader.feed(data) if data else reader.close():
                text = piece.content or piece.thought
                if not text:
                    continue
                if tokens == most_tokens or characters + len(text) > most_characters:
                    return _End(is_cut=True)
                tokens, characters, self._has_begun = tokens + 1, characters + len(text), True
                self._pieces.put(piece)
            if not data:
                break
            if reader.finish and finished_s == math.inf:
                finished_s = time.monotonic()
                post.wait_at_most(_AFTER_FINISH_S)
        else:
            for _ in reader.close():
                pass
        heard = reader.likelihoods if self._wants_entropy else None
        return _End("", reader.is_cut, bool(reader.finish), reader.tokens, heard, reader.prompt_tokens)

    def _other_names(self) -> str:
        """The served models, if the requested one is not among them; else empty."""
        deadline_s = min(self._deadline_s, time.monotonic() + _LIST_S)
        post = self._post = Post(self._server.models_url, None, self._server.headers, deadline_s)
        try:
            if self._stopped.is_set():
                return ""
            response = post.open()
            names = served_names(_first_bytes(response)) if response.status == 200 else []
        except (ServerError, OSError, http.client.HTTPException):
            return ""  # the refusal itself is reported
        finally:
            post.close()
        if not names or self._request["model"] in names:
            return ""
        return (f"; it does not serve {self._request['model']!r} but {self._server.shown(', '.join(names))}: set "
                "reasoner.server_model to one of them")  # fmt: skip

    def _reason(self, error: Exception) -> str:
        return self._server.masked(reason_of(error), is_answer=False)


def _is_of_the_wish(error: Exception, reason: str) -> bool:
    """Whether a refusal may be due to the request for log-probabilities, by its status or by its words."""
    if isinstance(error, Refusal) and error.status in _NOT_UNDERSTOOD:
        return True
    return isinstance(error, ServerError) and re.search(r"log[_ -]?prob", reason, re.IGNORECASE) is not None


def _next_bytes(response: http.client.HTTPResponse, finished_s: float) -> bytes:
    """The next bytes; none at the end of the body, or if the stream of a finished answer stays open."""
    try:
        return response.read1(READ_BYTES)
    except TimeoutError:
        if finished_s < math.inf:
            return b""
        raise


def _first_bytes(response: http.client.HTTPResponse) -> bytes:
    """The beginning of an error's body. A connection that breaks meanwhile is not an error."""
    body = b""
    try:
        while len(body) < _MOST_REFUSAL_BYTES and (data := response.read1(_MOST_REFUSAL_BYTES - len(body))):
            body += data
    except (OSError, http.client.HTTPException):
        pass
    return body

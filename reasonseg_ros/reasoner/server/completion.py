"""A server's body read as a chat completion: a stream of server-sent events, or one JSON object.

Pure: bytes in, pieces of text out. Anything that is not a completion, or that reports a failure, raises ServerError
with the server's own words. Format: the chat completions of the OpenAI API, with additions of vLLM, llama.cpp and
others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.errors import InvalidInput, ServerError
from reasonseg_ros.files.strict_json import parse_json
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.reasoner.server.likelihoods import Likelihoods

MOST_EVENT_BYTES = 1 << 20
"""Longest line, event and, by default, JSON body. It bounds the memory for a body without an end."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_FIELD = re.compile(rb"\s*(?:data|event|id|retry|error)?:")
_LONGEST_FIELD = len(b"event:")
_STOPPED = ("stop", "eos", "eos_token", "stop_sequence", "end_turn")
"""Finish reasons of an answer that the model ended itself: OpenAI's, and those of older servers for the same."""
_CUT = ("length", "max_tokens", "model_length")
"""Finish reasons of an answer that a limit ended."""
_THOUGHT_PARTS = ("reasoning", "thinking")
_TEXT_PARTS = ("text", "output_text")
_TAG = re.compile(r"<\s*/?\s*(?:think|answer)\s*>", re.IGNORECASE)
_ANSWER_BEGINS = re.compile(r"<\s*/\s*think\s*>|<\s*answer\s*>", re.IGNORECASE)

Show = Callable[[str], str]
"""Makes a server's own words fit to be shown: see `shown`."""


def shown(text: str) -> str:
    """At most 300 characters on one line."""
    return one_line(" ".join(text.split()), 300)


@dataclass(frozen=True)
class Piece:
    """A piece of text: of the answer, or of the thought if the server sends that separately."""

    content: str = ""
    thought: str = ""


class CompletionReader:
    """Feed it the body's bytes as they arrive, then `close` it.

    Attributes:
        finish: why the model stopped; empty until the server says so.
        ended: the server said that nothing follows, by `[DONE]` or with the end of a JSON object.
        tokens, prompt_tokens: of the whole answer and of the prompt, as the server counted; 0 if it does not say.
        likelihoods: of the answer's tokens, if the server lists them.
    """

    def __init__(self, content_type: str = "", show: Show = shown, most_bytes: int = MOST_EVENT_BYTES) -> None:
        """`most_bytes`: longest body of one JSON object."""
        self.finish = ""
        self.ended = False
        self.tokens = 0
        self.likelihoods = Likelihoods()
        self._most_bytes = most_bytes
        self.prompt_tokens = 0
        self._content_type = content_type.partition(";")[0].strip().lower()
        self._show = show
        self._is_stream: bool | None = None
        self._rest = b""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = ""
        self._refusal = ""
        self._is_empty = True

    def feed(self, data: bytes) -> Iterator[Piece]:
        self._rest += data
        if self._is_stream is None:
            self._is_stream = self._looks_like_stream()
        if self._is_stream:
            yield from self._lines(at_end=False)
        most = self._most_bytes if self._is_stream is False else MOST_EVENT_BYTES
        if len(self._rest) + self._data_bytes > most:
            raise ServerError(f"it sent more than {most >> 20} MiB without an end")

    def close(self) -> Iterator[Piece]:
        """The last pieces, at the end of the body. Raises ServerError if the answer is incomplete or empty."""
        if self._is_stream or (self._is_stream is None and _FIELD.match(self._rest)):
            yield from self._lines(at_end=True)
        elif self._rest.strip():
            yield from self._whole()
        if self._refusal:
            raise ServerError(f"it refused: {self._show(self._refusal)}")
        if self._is_empty:
            raise ServerError("it answered nothing; check server_url (…/v1), and the server's log")
        if self.finish and self.finish not in (*_STOPPED, *_CUT):
            raise ServerError(f"it ended the answer early, with finish_reason {self._show(self.finish)!r}")
        if not self.finish and not self.ended:
            raise ServerError("its stream broke off without a finish reason; see the server's log")

    def _looks_like_stream(self) -> bool | None:
        """Judged by the first bytes, because some servers send the wrong content type. None: too few bytes yet."""
        begin = self._rest.removeprefix(b"\xef\xbb\xbf").lstrip()
        if len(begin) < _LONGEST_FIELD:
            return None
        if begin.startswith(b"{"):
            return False
        return self._content_type == "text/event-stream" or bool(_FIELD.match(begin))

    @property
    def is_cut(self) -> bool:
        return self.finish in _CUT

    def _lines(self, at_end: bool) -> Iterator[Piece]:
        # A CR at the end may be half of a CR LF.
        held = b"\r" if self._rest.endswith(b"\r") and not at_end else b""
        *lines, rest = _LINE_END.split(self._rest.removesuffix(held) if held else self._rest)
        self._rest = rest + held
        for line in lines:
            yield from self._line(line)
        if at_end:
            rest, self._rest = self._rest, b""
            yield from self._line(rest)
            yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[Piece]:
        if self.ended:
            return
        if not line:
            data, event = b"\n".join(self._data), self._event
            self._data, self._data_bytes, self._event = [], 0, ""
            if data:
                yield from self._dispatch(data, event)
            return
        name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"error":  # llama.cpp, until 2025
            raise ServerError(f"it failed: {_words_in(value, self._show)}")

    def _dispatch(self, data: bytes, event: str) -> Iterator[Piece]:
        if data.strip() == b"[DONE]":
            self.ended = True
            return
        if event.strip() == "error":
            raise ServerError(f"it failed: {_words_in(data, self._show)}")
        try:
            value = parse_json(data, unique_keys=False, finite=False)
        except InvalidInput as error:
            raise ServerError(f"it sent data that is no JSON ({error}): {self._show(_text(data))}") from error
        yield from self._completion(value, data)

    def _whole(self) -> Iterator[Piece]:
        body, self._rest = self._rest, b""
        kind = self._content_type or "no content type"
        nothing = f"it answered something other than completions ({kind}: {self._show(_text(body))})"
        try:
            value = parse_json(body, unique_keys=False, finite=False)
        except InvalidInput as error:
            raise ServerError(f"{nothing}; check server_url (…/v1)") from error
        if isinstance(value, dict) and not value.get("choices") and not _failure(value, self._show):
            raise ServerError(f"{nothing}; check server_url (…/v1)")
        self.ended = True
        yield from self._completion(value, body)

    def _completion(self, value: Any, data: bytes) -> Iterator[Piece]:
        if isinstance(value, dict) and (words := _failure(value, self._show)):
            raise ServerError(f"it failed: {words}")
        choices = value.get("choices") or [] if isinstance(value, dict) else None
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise ServerError(f"it sent data that is no completion: {self._show(_text(data))}")
        usage = value.get("usage")
        if isinstance(usage, dict):
            self.tokens = _count(usage.get("completion_tokens")) or self.tokens
            self.prompt_tokens = _count(usage.get("prompt_tokens")) or self.prompt_tokens
        for choice in choices:
            if choice.get("index") in (None, 0, "0"):  # one answer was asked for
                yield from self._choice(choice, data)

    def _choice(self, choice: dict[str, Any], data: bytes) -> Iterator[Piece]:
        self._is_empty = False
        said = choice["delta"] if "delta" in choice else choice.get("message")
        if said is None and "text" in choice:  # of a server that completes texts
            said = {"content": choice["text"]}
        finish = choice.get("finish_reason") or ""
        if not isinstance(said, (dict, type(None))) or not isinstance(finish, str):
            raise ServerError(f"it sent data that is no completion: {self._show(_text(data))}")
        said = said or {}
        if said.get("tool_calls") or said.get("function_call"):
            raise ServerError("it called a tool instead of answering; turn tools off in the server")
        self.finish = finish.lower() or self.finish
        self.likelihoods.add(choice.get("logprobs"))
        self._refusal += "".join(part.content for part in _pieces(said.get("refusal")))
        for key in ("reasoning_content", "reasoning", "thinking"):
            pieces = list(_pieces(said.get(key)))
            if pieces:  # some servers send both names, with the same text
                yield Piece(thought="".join(piece.content + piece.thought for piece in pieces))
                break
        yield from _pieces(said.get("content"))


def _pieces(content: Any) -> Iterator[Piece]:
    """Text, a list of parts with text, or nothing."""
    if content is None or content == "":
        return
    if isinstance(content, str):
        yield Piece(content)
        return
    if not isinstance(content, list):
        raise ServerError(f"it sent content of type {type(content).__name__}; expected text or a list of parts")
    for part in content:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        text = part.get("text", part.get(kind)) if isinstance(part, dict) else part
        if kind in _THOUGHT_PARTS:
            yield Piece(thought="".join(piece.content + piece.thought for piece in _pieces(text)))
        elif kind in _TEXT_PARTS and isinstance(text, str):
            yield Piece(text)
        else:
            raise ServerError(f"it sent a part of type {str(kind)[:40]!r} as content; expected text")


def _count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return value if type(value) is int and 0 < value < 1 << 31 else 0


def joined(thought: str, content: str, is_cut: bool = False) -> str:
    """One text for the parser, as if the server had not separated thought and answer.

    A thought without any content may hold the answer, because some servers take everything for thought.
    """
    if not thought.strip():
        return content
    if content.strip():
        return f"<think>{_TAG.sub('', thought).strip()}</think>{content.lstrip()}"
    return f"<think>{thought}" if is_cut and not _ANSWER_BEGINS.search(thought) else thought


def refusal_words(body: bytes, show: Show = shown) -> str:
    """What the body of an HTTP error says; empty if it says nothing."""
    return _words_in(body, show) if body.strip() else ""


def served_names(body: bytes) -> list[str]:
    """The ids in a list of models (`GET /v1/models`), in order; empty if it is no such list."""
    try:
        value = parse_json(body, unique_keys=False, finite=False)
    except InvalidInput:
        return []
    listed = value.get("data") if isinstance(value, dict) else None
    entries = listed if isinstance(listed, list) else []
    return [entry["id"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _words_in(data: bytes, show: Show) -> str:
    """The message in an error object, or the text itself if it is none."""
    try:
        value = parse_json(data, unique_keys=False, finite=False)
    except InvalidInput:
        return show(re.sub(r"<[^<>]*>", " ", _text(data)))
    if not isinstance(value, dict):
        return show(_as_text(value))
    named = next((value[key] for key in ("message", "detail") if value.get(key)), value)
    return _failure(value, show) or show(_as_text(named))


def _failure(value: dict[str, Any], show: Show) -> str:
    """The words of an error object, empty if there is none."""
    error = value.get("error") or value.get("errors")
    if not error:
        is_failure = "error" in (value.get("object"), value.get("type")) or value.get("error_code")
        # What is no completion and brings a message says that it failed, in the words of a framework or a gateway.
        words = next((value[key] for key in ("message", "detail") if value.get(key)), None)
        if not is_failure and (words is None or "choices" in value):
            return ""
        return show(_as_text(words or value.get("text") or "no reason given"))
    if isinstance(error, dict):
        error = error.get("message") or error
    return show(_as_text(error))


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "deeply nested JSON"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")

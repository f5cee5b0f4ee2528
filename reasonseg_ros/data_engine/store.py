"""Stores every reply of the model on the disk before it is used, so that no reply is paid for twice."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import naming
from reasonseg_ros.files.appended import append_line, open_appended
from reasonseg_ros.files.strict_json import json_text, parse_json

REPLIES_NAME = "replies.jsonl"


@dataclass(frozen=True)
class StoredReply:
    """A reply. The token counts are the server's; both are 0 if it does not count. `is_cut`: the token limit cut it."""

    key: str
    picture: str
    text: str
    is_cut: bool
    prompt_tokens: int
    tokens: int


def request_key(model: str, sampling: Mapping[str, Any], attempt: int, words: str, digest: str) -> str:
    """The key of a request, 32 hexadecimal digits. Requests that may get different replies have different keys.

    `digest` identifies the images.
    """
    return hashlib.sha256(json_text([model, dict(sampling), attempt, words, digest]).encode()).hexdigest()[:32]


class ReplyStore:
    """Replies by the key of their request, in `replies.jsonl` of a folder. Use it in a `with` statement.

    Any thread may get and put. An incomplete last line of a killed run is removed. Entering raises InvalidInput for any
    other damaged line, so that no paid reply is dropped silently.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / REPLIES_NAME
        self._lock = threading.Lock()
        self._known: dict[str, StoredReply] = {}
        self._earlier: frozenset[str] = frozenset()
        self._reused: set[str] = set()

    def __enter__(self) -> ReplyStore:
        self._file = open_appended(self.path)
        try:
            end = 0
            for number, line in enumerate(self._file, 1):
                if not line.endswith(b"\n"):
                    break
                reply = _read(line, f"{self.path}, line {number}")
                self._known[reply.key] = reply
                end += len(line)
            with naming(self.path):
                self._file.truncate(end)
            self._file.seek(end)
            self._earlier = frozenset(self._known)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, key: str) -> StoredReply | None:
        with self._lock:
            if key in self._earlier:
                self._reused.add(key)
            return self._known.get(key)

    @property
    def reused(self) -> int:
        """Number of replies of earlier runs that `get` has returned."""
        return len(self._reused)

    def put(self, reply: StoredReply) -> None:
        with self._lock, naming(self.path):
            append_line(self._file, asdict(reply))
            self._known[reply.key] = reply

    def all(self) -> list[StoredReply]:
        """All replies in the order of their arrival."""
        with self._lock:
            return list(self._known.values())


def _read(line: bytes, place: str) -> StoredReply:
    try:
        reply = StoredReply(**parse_json(line))
        texts, counts = (reply.key, reply.picture, reply.text), (reply.prompt_tokens, reply.tokens)
        if all(isinstance(text, str) for text in texts) and all(type(count) is int and count >= 0 for count in counts):
            return reply
        raise InvalidInput("a value has the wrong type")
    except (InvalidInput, TypeError) as error:
        raise InvalidInput(f"{place} is no reply ({error}); remove that line, it will be asked again") from error

"""Every reply that a model gave, on the disk before it is used: what was paid for once is never asked again."""

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
    """A reply. The counts of tokens are the server's; both are 0 if it does not count."""

    key: str
    picture: str
    text: str
    is_cut: bool
    prompt_tokens: int
    tokens: int


def request_key(model: str, sampling: Mapping[str, Any], attempt: int, words: str, digest: str) -> str:
    """Differs between requests that may get different replies. `digest` is that of the images."""
    return hashlib.sha256(json_text([model, dict(sampling), attempt, words, digest]).encode()).hexdigest()[:32]


class ReplyStore:
    """Replies by the key of their request, in `replies.jsonl` of a folder. Use it in a `with` statement.

    Any thread may get and put. The end of a line that a killed run left half written is cut off. Raises InvalidInput
    for a line that is damaged, as what was paid for would be lost unseen.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / REPLIES_NAME
        self._lock = threading.Lock()
        self._known: dict[str, StoredReply] = {}

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
            return self._known.get(key)

    def put(self, reply: StoredReply) -> None:
        with self._lock, naming(self.path):
            append_line(self._file, asdict(reply))
            self._known[reply.key] = reply

    def all(self) -> list[StoredReply]:
        """In the order of their first arrival."""
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

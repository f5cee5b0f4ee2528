"""JSON as language models write it: found inside other text, and read up to its first error.

Understood beyond JSON: single quotes, quotes and apostrophes inside strings, bare words, Python's None and tuples,
full-width and curly punctuation, missing or superfluous commas, brackets that do not match, a tail that was cut off,
and an object with repeated keys, which is a list of objects.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[\s,;]*")
_WORD = re.compile(r"[^\s,;:\[\]{}()\"'`]+(?:'[^\s,;:\[\]{}()\"'`]+)*")  # dog's is one word
_STRAY = re.compile(r"[\[{(]+|.", re.DOTALL)
_OPENER = re.compile(r"[\[{]")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[\"'\\/ntr])")
_CLOSERS = "]})"
MAX_DEPTH = 32
"""Maximum nesting of brackets. A deeper value is not read."""
# One character for one, so that positions do not change.
_ASCII = str.maketrans(
    "\uff3b\uff3d\uff5b\uff5d\uff08\uff09\uff0c\uff1a\uff1b\u201c\u201d\u201e\u201f\uff02\u2018\u2019\uff07",
    '[]{}(),:;"""""\'\'\'',
)
_LITERALS = {"null": None, "none": None, "true": True, "false": False, "nan": math.nan}
# A quote ends its string if something follows that may follow a value; else it belongs to the text.
_STRING_END = {quote: re.compile(rf"(?<!\\){quote}(?=\s*(?:[,:;\]}})]|$))") for quote in "\"'"}


class _Cut:
    """Marks a value that was truncated at the end of the text."""


_CUT = _Cut()


@dataclass(frozen=True)
class Span:
    """A value and its position: `text[start:end]`."""

    start: int
    end: int
    value: Any


@dataclass(frozen=True)
class FoundJson:
    """The outermost lists and objects of a text.

    Attributes:
        is_cut: the text ended inside the last one.
        is_too_deep: one was nested deeper than MAX_DEPTH and is left out.
    """

    spans: tuple[Span, ...]
    is_cut: bool = False
    is_too_deep: bool = False


def find_spans(text: str) -> FoundJson:
    """Every outermost list and object in `text`.

    Of a value that the text ended in, the complete entries are kept; a list of numbers that was cut is left out, as a
    box with missing corners is none. Never raises; takes time linear in the text.
    """
    reader = _Reader(text)
    spans, is_too_deep = [], False
    while (start := reader.next_opener()) is not None:
        reader.position, reader.is_too_deep = start, False
        value = reader.value(0)
        is_too_deep |= reader.is_too_deep
        if value is not _CUT and not reader.is_too_deep:
            spans.append(Span(start, reader.position, value))
    return FoundJson(tuple(spans), reader.cut, is_too_deep)


def find_values(text: str) -> tuple[list[Any], bool]:
    """The values of `find_spans`, and whether the text ended inside the last one."""
    found = find_spans(text)
    return [span.value for span in found.spans], found.is_cut


class _Reader:
    def __init__(self, text: str) -> None:
        self.written = text
        self.text = text if text.isascii() else text.translate(_ASCII)
        self.position = 0
        self.cut = False
        self.is_too_deep = False
        self.endless: set[str] = set()  # quotes without a string end in the rest of the text

    def next_opener(self) -> int | None:
        found = _OPENER.search(self.text, self.position)
        return found.start() if found else None

    def peek(self) -> str:
        """The next character that is neither space nor comma; empty at the end."""
        self.position = _SPACE.match(self.text, self.position).end()  # type: ignore[union-attr]
        return self.text[self.position : self.position + 1]

    def value(self, depth: int) -> Any:
        character = self.peek()
        if not character:
            self.cut = True
            return _CUT
        if character in "[({":
            if depth < MAX_DEPTH:
                self.position += 1
                return self.object(depth + 1) if character == "{" else self.list(depth + 1)
            self.is_too_deep = True
        if character in "\"'":
            return self.string(character)
        found = _WORD.match(self.text, self.position)
        if not found:  # a stray colon, or brackets nested deeper than plausible
            self.position = _STRAY.match(self.text, self.position).end()  # type: ignore[union-attr]
            return None
        self.position = found.end()
        return _scalar(found[0])

    def list(self, depth: int) -> Any:
        items = []
        while (character := self.peek()) and character not in _CLOSERS:
            item = self.value(depth)
            if item is not _CUT:
                items.append(item)
        if character == "}" and depth > 1:
            return items  # the list's own bracket is missing; this one closes the object round it
        self.position += 1
        if not character:
            self.cut = True
            return [item for item in items if isinstance(item, (list, dict))] or _CUT
        return items

    def object(self, depth: int) -> Any:
        done: list[dict[str, Any]] = []
        entries: dict[str, Any] = {}
        while (character := self.peek()) and character not in _CLOSERS:
            key = self.value(depth)
            if self.peek() != ":":
                if isinstance(key, (dict, list)):
                    entries.setdefault("", []).append(key)
                continue
            self.position += 1
            if self.peek() and self.text[self.position] in _CLOSERS:
                break
            value = self.value(depth)
            if value is not _CUT and isinstance(key, (str, int, float)):
                if str(key) in entries:  # the next object without the brackets between
                    done.append(entries)
                    entries = {}
                entries[str(key)] = value
        character = self.peek()
        whole = [*done, entries] if done else entries
        if character == "]" and depth > 1:
            return whole  # the object's own brace is missing; this bracket closes the list round it
        self.position += 1
        if not character:
            self.cut = True
            return whole or _CUT
        return whole

    def string(self, quote: str) -> Any:
        start = self.position + 1
        found = None if quote in self.endless else _STRING_END[quote].search(self.text, start)
        end = found.start() if found else self.text.find(quote, start)
        if not found:
            self.endless.add(quote)
        if end < 0:
            self.position = len(self.text)
            self.cut = True
            return _CUT
        self.position = end + 1
        return _ESCAPE.sub(_unescaped, self.written[start:end])


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else {"n": "\n", "t": "\t", "r": "\r"}.get(code, code)


def _scalar(word: str) -> Any:
    if word.lower() in _LITERALS:
        return _LITERALS[word.lower()]
    try:
        return float(word) if len(word) < 400 else word
    except ValueError:
        return word

"""JSON as language models write it: found inside other text, and read as far as it goes.

Understood beyond JSON: single quotes, quotes and apostrophes inside strings, bare words, Python's None and tuples,
missing or superfluous commas, brackets that do not match, and a tail that was cut off.
"""

from __future__ import annotations

import math
import re
from typing import Any

_SPACE = re.compile(r"[\s,;]*")
_WORD = re.compile(r"[^\s,;:\[\]{}()\"'`]+(?:'[^\s,;:\[\]{}()\"'`]+)*")  # dog's is one word
_STRAY = re.compile(r"[\[{(]+|.", re.DOTALL)
_OPENER = re.compile(r"[\[{]")
_CLOSERS = "]})"
_MAX_DEPTH = 32
_LITERALS = {"null": None, "none": None, "true": True, "false": False, "nan": math.nan}
# A quote ends its string where something follows that may follow a value; else it belongs to the text.
_STRING_END = {quote: re.compile(rf"(?<!\\){quote}(?=\s*(?:[,:;\]}})]|$))") for quote in "\"'"}


class _Cut:
    """Stands for a value that the text ended in."""


_CUT = _Cut()


def find_values(text: str) -> tuple[list[Any], bool]:
    """Every outermost list and object in `text`, and whether the text ended inside the last one.

    Of a value that the text ended in, the complete entries are kept; a list of numbers that was cut is left out, as a
    box with missing corners is none. Never raises; takes time linear in the text.
    """
    reader = _Reader(text)
    values = []
    while (start := reader.next_opener()) is not None:
        reader.position = start
        value = reader.value(0)
        if value is not _CUT:
            values.append(value)
    return values, reader.cut


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.cut = False
        self.endless: set[str] = set()  # quotes that are known to have no string end any more

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
        if character in "[({" and depth < _MAX_DEPTH:
            self.position += 1
            return self.object(depth + 1) if character == "{" else self.list(depth + 1)
        if character in "\"'":
            return self.string(character)
        found = _WORD.match(self.text, self.position)
        if not found:  # a stray colon, or brackets deeper than anyone means them
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
                entries[str(key)] = value
        character = self.peek()
        if character == "]" and depth > 1:
            return entries  # the object's own brace is missing; this bracket closes the list round it
        self.position += 1
        if not character:
            self.cut = True
            return entries or _CUT
        return entries

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
        return re.sub(r"\\([\"'\\/])", r"\1", self.text[start:end])


def _scalar(word: str) -> Any:
    if word.lower() in _LITERALS:
        return _LITERALS[word.lower()]
    try:
        return float(word) if len(word) < 400 else word
    except ValueError:
        return word

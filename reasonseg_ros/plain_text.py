"""Text from outside (models, servers, bags, users, exceptions), made safe to publish, to store and to print."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from reasonseg_ros.errors import InvalidInput

if TYPE_CHECKING:
    from rich.text import Text

LONGEST_TEXT = 200_000
"""Characters of a model's text that are kept."""
LONGEST_LINE = 1000
"""Characters of a name, a label or an error message that are kept."""
REPLACEMENT = "\ufffd"
"""Stands for what is no text, as in any decoder."""

_LINE_END = re.compile("\r\n?|[\x85\u2028\u2029]")
# Control characters but tab and newline; halves of pairs; noncharacters.
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_WORD = re.compile(r"[0-9A-Za-z_\u00c0-\u024f]+|[^\W0-9A-Za-z_\u00c0-\u024f]+")
"""A run of letters of one script: Latin letters beside Korean or Chinese ones are another word."""
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
# Embeddings, overrides and isolates, which show text in another order than it has.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")


def plain_text(text: str, most: int = LONGEST_TEXT) -> str:
    """`text` as valid Unicode without control characters, at most `most` characters long.

    Control characters (C0 and C1, ESC included) and lone surrogates become U+FFFD, bidirectional controls are removed,
    every kind of line end becomes a newline; newlines and tabs stay. Two surrogates that make a pair become their
    character. A longer text ends in " ...".
    """
    if not text.isprintable():
        text = _BIDI.sub("", _LINE_END.sub("\n", _paired(text)))
        text = _NO_TEXT.sub(REPLACEMENT, text)
    return shortened(text, most)


def one_line(text: str, most: int = LONGEST_LINE) -> str:
    """`text` on one line with single spaces: for names, labels, identifiers and error messages.

    What `plain_text` replaces or removes is shown as an escape such as `\\x1b`, so that different names stay different.
    """
    line = text
    if not text.isprintable() or "  " in text:
        line = " ".join(_paired(text).split())
        line = _BIDI.sub(_escape, _NO_TEXT.sub(_escape, line))
    return shortened(line, most)


def shortened(text: str, most: int) -> str:
    """At most `most` characters of `text`; a longer one ends in " ..."."""
    return text if len(text) <= most else f"{text[: max(most - 4, 0)]} ..."


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def check_plain(text: str, name: str) -> None:
    """Raise InvalidInput if the `name`d text holds what is no text."""
    if found := _NO_TEXT.search(_LINE_END.sub("\n", _paired(text))):
        raise InvalidInput(f"{name} holds the control character U+{ord(found[0]):04X}; send plain text")
    if REPLACEMENT in text:
        raise InvalidInput(f"{name} holds U+FFFD, which stands for a control character or damage; send plain text")


def terminal_text(text: str) -> Text:
    """`text` for rich tables and consoles, on one line. Brackets in it are no markup."""
    from rich.text import Text

    return Text(one_line(text))


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain_text(super().format(record))


def log_plainly() -> None:
    """Have Python's log, which holds tracebacks and with them text from outside, go to stderr as plain text."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PlainFormatter())
    logging.basicConfig(handlers=[handler])


def _paired(text: str) -> str:
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")

"""Exchanges left and right in a question, for the mirrored image. English only."""

from __future__ import annotations

import re

_PAIRS = {
    "left": "right", "leftmost": "rightmost", "lefthand": "righthand", "leftward": "rightward",
    "leftwards": "rightwards", "clockwise": "counterclockwise",
}  # fmt: skip
_EXCHANGED = {**_PAIRS, **{right: left for left, right in _PAIRS.items()}}
_WORD = re.compile(rf"\b(?:{'|'.join(sorted(_EXCHANGED, key=len, reverse=True))})\b", re.IGNORECASE)

_SIDE_BEFORE = re.compile(
    r"\b(?:on|to|at|from|of|in|toward|towards|far|further|farther|furthest|farthest|most|upper|lower|top|bottom|back|"
    r"front|near|its|my|your|his|her|their)(?:\s+(?:the|my|your|its|far|very))?\s+$", re.IGNORECASE,
)  # fmt: skip
_SIDE_AFTER = re.compile(
    r"^(?:\s+(?:of|side|sides|hand|half|edge|corner|end|one|most|arm|eye|ear|foot|leg|wing|lane)\b|-hand\b|-most\b|"
    r"\s+and\s+(?:left|right)\b|\s+or\s+(?:left|right)\b)", re.IGNORECASE,
)  # fmt: skip
_BOTH_BEFORE = re.compile(r"\b(?:left|right)\s+(?:and|or)\s+$", re.IGNORECASE)


def mirrored_question(text: str) -> str | None:
    """The question with sides exchanged; None if that is not safe.

    It is not safe if a `left` or `right` may not be a side, as in `the right tool` or `what is left over`, or if the
    text has letters outside of ASCII, which may name sides in another language.
    """
    if any(letter.isalpha() and not letter.isascii() for letter in text):
        return None
    if not all(_is_side(text, match) for match in _WORD.finditer(text)):
        return None
    return _WORD.sub(lambda match: _like(match[0], _EXCHANGED[match[0].lower()]), text)


def _is_side(text: str, match: re.Match[str]) -> bool:
    if match[0].lower() not in ("left", "right"):
        return True
    before, after = text[: match.start()], text[match.end() :]
    if match[0].lower() == "left" and re.match(r"\s+(?:over|out|behind|alone|open|lying|standing)\b", after, re.I):
        return False
    return bool(_SIDE_AFTER.search(after) or _SIDE_BEFORE.search(before) or _BOTH_BEFORE.search(before))


def _like(written: str, word: str) -> str:
    """`word` with the capitals of what it replaces."""
    if written.isupper():
        return word.upper()
    return word.capitalize() if written[0].isupper() else word

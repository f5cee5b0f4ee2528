"""Finds names and places in a question by its words. For English; names in other scripts are matched literally."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")
_IN_BRACKETS = re.compile(r"\([^)]*\)")
_IRREGULAR = {
    "children": "child", "feet": "foot", "geese": "goose", "men": "man", "mice": "mouse", "people": "person",
    "teeth": "tooth", "women": "woman",
}  # fmt: skip
_SHORTEST_PLURAL = 4
"""Minimum letters of a plural. Shorter words end in an s of the singular, as in gas and bus."""

PLACE_PHRASES = (
    "above", "adjacent", "at the back", "at the front", "at the end of", "background", "behind", "below", "beneath",
    "beside", "between", "bottom", "center", "central", "centre", "close to", "closest", "corner", "downmost",
    "far end", "farthest", "foreground", "furthest", "in front", "in the back", "in the front", "left", "leftmost",
    "lower part", "lowest", "middle", "near", "nearby", "nearest", "next to", "on the edge", "on top", "right side",
    "right hand", "rightmost", "the right", "the top", "to the right", "topmost", "underneath", "upper part",
    "uppermost", "rear", "on the side", "opposite", "surrounded by", "alongside", "close by", "at the edge",
)  # fmt: skip
"""Words that say where something is. `right` and `top` alone are missing, because they have other meanings."""

_STOP_TEXT = (
    "a an and any are as at be been by can could did do does find for from had has have here how i if in into is it "
    "its me my of on one or our please show should so some someone something that the their them there these they "
    "thing things this those to us used using want was we were what when where which who whom whose will with would "
    "you your item items object objects picture image scene"
)
STOP_WORDS = frozenset(_STOP_TEXT.split())
"""Words that do not count in the comparison of questions."""


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return _WORD.findall(text.casefold())


def singulars(word: str) -> frozenset[str]:
    """The possible singulars of a word, including itself."""
    found = {word, _IRREGULAR.get(word, word)}
    if len(word) >= _SHORTEST_PLURAL and word.endswith("s") and not word.endswith("ss"):
        found.add(word[:-1])
        if word.endswith("es"):
            found.add(word[:-2])
        if word.endswith("ies"):
            found.add(word[:-3] + "y")
        if word.endswith("ves"):
            found |= {word[:-3] + "f", word[:-3] + "fe"}
    return frozenset(found)


def is_same_word(a: str, b: str) -> bool:
    """Whether two words are equal, or one of them is the other's plural."""
    return not singulars(a).isdisjoint(singulars(b))


def found_name(question: str, names: Iterable[str]) -> str:
    """The first of `names` that is in a question, in singular or plural; empty if there is none.

    A name of several words is found by its last word, as `phone` for `cell phone`, or written as one word.
    """
    asked = words(question)
    plain = question.casefold()
    for name in names:
        parts = words(_IN_BRACKETS.sub(" ", name))
        if not parts:
            continue
        if not "".join(parts).isascii() and "".join(parts) in "".join(words(plain)):
            return name
        if any(is_same_word(word, wanted) for word in asked for wanted in {parts[-1], "".join(parts)}):
            return name
    return ""


def found_place(question: str) -> str:
    """The first word or phrase of a question that says where something is; empty if there is none."""
    text = f" {' '.join(words(question))} "
    found = [(text.index(f" {phrase} "), phrase) for phrase in PLACE_PHRASES if f" {phrase} " in text]
    return min(found)[1] if found else ""


def content(question: str) -> frozenset[str]:
    """The words that distinguish a question: without stop words, in the singular. All words if only these remain."""
    kept = [word for word in words(question) if word not in STOP_WORDS] or words(question)
    return frozenset(min(singulars(word), key=lambda form: (len(form), form)) for word in kept)


def likeness(a: frozenset[str], b: frozenset[str]) -> float:
    """Jaccard index of two sets of words: shared words over all words, 0 to 1."""
    return len(a & b) / len(a | b) if a or b else 1.0

"""Finds the values in a text that are its final answer.

A model that writes without answer tags, or inside them in prose, may mention boxes before it settles: those of other
objects, the image's size, a draft that it corrects. Values that stand together, as the items of a list do, are one
block, and one block is the answer: the last of the best kind. A fenced block is better than objects in prose, and those
are better than four bare numbers in prose. A block that is announced as the answer or as a correction counts whatever
its kind.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from reasonseg_ros.reasoner.dialects.candidates import candidates, is_bare, is_nothing, named, with_their_points
from reasonseg_ros.reasoner.dialects.json_text import MAX_DEPTH, FoundJson, Span, find_spans

_FENCE = re.compile(r"```[a-z0-9]*", re.IGNORECASE)
_CUE = re.compile(
    r"\b(?:correct(?:ed|ion|ly)?|final(?:ly)?|answer|actual(?:ly)?|instead|revis\w+|updat\w+|fix(?:ed)?|should be|"
    r"sorry|wait|rather|mistake\w*|refin\w+|adjust\w+|improved)\b"
    r"|最终|答案|更正|修正|纠正|正确|应该是|应为|其实|实际|정답|최종|수정|答え|最終|訂正",
    re.IGNORECASE,
)
_CUE_REACH = 60
# Text that may separate the items of a list: nothing, `and`, a number or bullet, and a name with a colon.
_NAME = r"(?:[*\"'`]*[^\n:.!?\[\]{}]{1,40}:[*\"'`]*)?"
_JOINED = re.compile(
    rf"[\s,;|]*(?:and|&|or|plus|then|和|以及|及|와|과|と)?[\s,;]*(?:[-*•]|\(?\d{{1,3}}[.)])?\s*{_NAME}\s*",
    re.IGNORECASE,
)
_LINE_NAME = re.compile(
    r"(?:^|[\n,;])\s*(?:[-*•]\s*|\(?\d{1,3}[.)]\s*)?[*\"'`]*([^\n:,;.\[\]{}*\"'`]{1,60})[*\"'`]*\s*:\s*[*]*\s*$"
)
_NO_NAME = re.compile(
    r"\b(?:json|format|bbox|box(?:es)?|bounding|coordinates?|here|is|are|image|detections?|objects?|list|example|x1|so|"
    r"results?|outputs?)\b",
    re.IGNORECASE,
)
_CLOSE = 200


@dataclass(frozen=True)
class Block:
    """Values that stand together in a text.

    Attributes:
        items: its objects with a box or points; none if it says on purpose that nothing fits.
        start, end: its place in the text.
        kind: 0 bare numbers in prose, 1 nothing in prose, 2 objects in prose, 3 in a fence.
        is_announced: the words before it call it the answer, or a correction.
    """

    items: tuple[dict[str, Any], ...]
    start: int
    end: int
    kind: int
    is_announced: bool


@dataclass(frozen=True)
class FinalAnswer:
    """The final block of a text, and what else was found in it.

    Attributes:
        block: None if no value is about a target.
        drafts: how many blocks of the same or a better kind were left out.
        is_cut: the text ended inside its last value.
        is_too_deep: a value was nested too deep to be read.
    """

    text: str
    block: Block | None
    drafts: int
    is_cut: bool
    is_too_deep: bool

    @property
    def items(self) -> list[dict[str, Any]]:
        return list(self.block.items) if self.block else []

    @property
    def says_nothing(self) -> bool:
        return self.block is not None and not self.block.items

    @property
    def before(self) -> str:
        return self.text[: self.block.start] if self.block else self.text

    @property
    def after(self) -> str:
        return self.text[self.block.end :] if self.block else ""


def final_answer(text: str, image_whs: tuple[tuple[int, int], ...] = ()) -> FinalAnswer:
    """The final block of a text.

    Args:
        image_whs: sizes of the image. A box in prose that is exactly one of them is dropped if there are others.

    Takes time linear in the text.
    """
    text = _unquoted(text)
    found = find_spans(text)
    blocks = _without_sizes(list(_blocks(text, found)), image_whs)
    best: Block | None = None
    for block in blocks:
        if best is None or block.kind >= best.kind or block.is_announced:
            best = block
    drafts = sum(block is not best and block.kind >= (best.kind if best else 0) for block in blocks)
    return FinalAnswer(text, best, drafts, found.is_cut, found.is_too_deep)


def final_values(text: str) -> list[Any]:
    """The relevant values: those in fences if there are any, from the last correction on."""
    spans = find_spans(text).spans
    fences = [fence.start() for fence in _FENCE.finditer(text)]
    fenced = [span for span in spans if bisect(fences, span.start) % 2]
    kept: list[Span] = []
    for span in fenced or spans:
        if kept and is_announced(text, kept[-1].end, span.start):
            kept.clear()
        kept.append(span)
    return [span.value for span in kept]


def _unquoted(text: str) -> str:
    """The JSON in a JSON string, if the whole text is one."""
    plain = text.strip()
    if plain[:1] == '"' == plain[-1:] and '\\"' in plain:
        try:
            return str(json.loads(plain))
        except ValueError:
            pass
    return text


def too_deep() -> str:
    return f"brackets are nested deeper than {MAX_DEPTH} levels"


def _blocks(text: str, found: FoundJson) -> Iterator[Block]:
    fences = [fence.start() for fence in _FENCE.finditer(text)]
    gathered: list[dict[str, Any]] = []
    pending: Block | None = None
    for span in found.spans:
        items = _items(text, span)
        if not items and not is_nothing(span.value):
            continue
        kind = (
            3
            if bisect(fences, span.start) % 2
            else 2
            if any(not is_bare(item) for item in items)
            else 0
            if items
            else 1
        )
        if pending is not None and _stand_together(text, pending, span.start, kind):
            gathered += items
            pending = replace(pending, end=span.end, kind=max(kind, pending.kind))
            continue
        if pending is not None:
            yield replace(pending, items=tuple(with_their_points(gathered)))
        announced = is_announced(text, pending.end if pending else 0, span.start)
        pending, gathered = Block((), span.start, span.end, kind, announced), items
    if pending is not None:
        yield replace(pending, items=tuple(with_their_points(gathered)))


def _items(text: str, span: Span) -> list[dict[str, Any]]:
    items = [item for item in candidates(span.value) if not is_nothing(item)]
    name = _LINE_NAME.search(_FENCE.sub("", text[max(0, span.start - _CLOSE) : span.start])) if items else None
    if name and not _CUE.search(name[1]) and not _NO_NAME.search(name[1]):
        items = [named(item, name[1]) for item in items]
    return items


def _stand_together(text: str, block: Block, start: int, kind: int) -> bool:
    if start - block.end > _CLOSE or (kind == 3) != (block.kind == 3) or (kind == 0) != (block.kind == 0):
        return False
    between = _FENCE.sub("", text[block.end : start])
    return bool(_JOINED.fullmatch(between)) and not _CUE.search(between)


def is_announced(text: str, after: int, start: int) -> bool:
    """Whether the words in `text[after:start]`, just before `start`, announce an answer or a correction."""
    return bool(_CUE.search(text[max(after, start - _CUE_REACH) : start]))


def _without_sizes(blocks: list[Block], image_whs: tuple[tuple[int, int], ...]) -> list[Block]:
    sizes = [[0.0, 0.0, float(width), float(height)] for width, height in image_whs]
    kept = [block for block in blocks if block.kind or not all(is_bare(item, sizes) for item in block.items)]
    return kept or blocks

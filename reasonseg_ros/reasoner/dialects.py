"""A model's text into an Answer in source pixels. Pure functions; no text makes them raise.

Dialects: `seg_zero` (`bbox`, `points_1`, `points_2`) and `vision_reasoner` (a list of `bbox_2d`, `point_2d`) write a
thought in <think> tags and the answer in <answer> tags, in pixels of the squashed image; `qwen2.5-vl` (pixels of the
resized image) and `qwen3-vl` (thousandths) write a bare JSON list of `bbox_2d`, `label`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.model_card import DIALECTS
from reasonseg_ros.reasoner.absence import denying_clause
from reasonseg_ros.reasoner.fields import (
    Reading,
    SizeWh,
    candidates,
    is_nothing,
    read_groundings,
)
from reasonseg_ros.reasoner.image_size import default_answer_wh
from reasonseg_ros.reasoner.json_text import find_values
from reasonseg_ros.reasoner.strict import parse_strictly
from reasonseg_ros.types import Answer, Status

_TAG = re.compile(r"<\s*(/?)\s*(think|answer)\s*>", re.IGNORECASE)
_HALF_TAG = re.compile(r"<\s*/?\s*[a-z]{0,6}\s*$", re.IGNORECASE)
_THOUGHT_END = re.compile(r"<\s*/\s*think\s*>(?:\s*<\s*answer\s*>)?", re.IGNORECASE)
_FENCE = re.compile(r"```[a-z0-9]*", re.IGNORECASE)
_NOTHING_WORDS = ("null", "none", "nothing", "n/a", "no object", "no target", "empty")
_TAGGED = ("seg_zero", "vision_reasoner")


@dataclass(frozen=True)
class Parts:
    """A text taken apart. `open_end`: it stops inside the thought, inside the answer, or inside a tag."""

    thought: str
    answers: tuple[str, ...]
    tagged: bool
    open_end: bool


def parse_answer(
    text: str,
    source_wh: SizeWh,
    *,
    dialect: str = "auto",
    answer_wh: SizeWh | None = None,
    strict: bool = False,
    cut: bool = False,
) -> Answer:
    """What a model meant.

    Args:
        source_wh: the camera image, pixels.
        dialect: one of DIALECTS, or auto to go by the text.
        answer_wh: the size whose pixels the text speaks of; None takes the dialect's usual one.
        strict: read as the dialect's authors do when they score: no repair, no clipping, no contradiction.
        cut: the token limit was hit, so the end of the text is missing.

    Where several answers are given, the first with a usable box counts. Of a list, good boxes are kept and the others
    are named in `error`. Raises InvalidInput for sizes below 1 or an unknown dialect, never for a text.
    """
    if min(*source_wh, *(answer_wh or (1, 1))) < 1:
        raise InvalidInput(f"image of {source_wh} answered in {answer_wh}; expected sizes of at least 1 pixel")
    if dialect not in ("auto", *DIALECTS):
        raise InvalidInput(f"dialect {dialect!r}; expected auto or one of {', '.join(DIALECTS)}")
    parts = take_apart(text)
    found = [list(_candidates_in(answer)) for answer in parts.answers]
    looks_like = _detect([item for items in found for item in items], parts)
    spoken = dialect if dialect != "auto" else looks_like
    answer_wh = answer_wh or default_answer_wh(spoken, source_wh)
    if strict:
        answer = parse_strictly(text, source_wh, spoken or "vision_reasoner", answer_wh)
    else:
        answer = _read(parts, found, source_wh, answer_wh, cut)
    mixed = _mixed_up(spoken, looks_like) if any(found) else ""
    error = "; ".join(note for note in (answer.error, mixed) if note)
    return replace(answer, dialect=spoken, raw_text=text, error=error)


def _read(
    parts: Parts, found: list[list[dict[str, Any]]], source_wh: SizeWh, answer_wh: SizeWh, cut: bool
) -> Answer:
    readings = [read_groundings(items, answer_wh, source_wh) for items in found]
    reading = next((one for one in readings if one.groundings), None)
    if reading is None:
        return _without_box(parts, readings, cut)
    notes = list(reading.notes)
    if sum(bool(one.groundings) for one in readings) > 1:
        notes.append("several answers; the first was taken")
    if cut or parts.open_end or find_values(parts.answers[readings.index(reading)])[1]:
        notes.append("the text is cut off; its complete boxes were kept")
    if clause := denying_clause(parts.thought):
        error = f'the thought says that the target is absent ("{clause[:200]}"), yet a box follows'
        return Answer(Status.CONTRADICTION, parts.thought, error="; ".join([error, *notes]))
    return Answer(Status.OK, parts.thought, tuple(reading.groundings), error="; ".join(notes))


def _without_box(parts: Parts, readings: list[Reading], cut: bool) -> Answer:
    notes = [note for reading in readings for note in reading.notes]
    contents = [_FENCE.sub("", answer).strip(" \n\t\r.\"'") for answer in parts.answers]
    values = [find_values(content) for content in contents]
    status, error = Status.UNPARSABLE, "; ".join(notes)
    if any(reading.contradictory for reading in readings):
        status = Status.CONTRADICTION
    elif notes:
        pass
    elif any(_says_nothing(content, one[0]) for content, one in zip(contents, values, strict=True)):
        status = Status.NO_TARGET
    elif cut or parts.open_end or any(one[1] for one in values):
        status, error = Status.TRUNCATED, "the text ends before a complete box; raise max_new_tokens"
    elif not parts.answers:
        error = "no answer after the thought" if parts.thought else "the text is empty"
    else:
        content = " ".join(contents).strip()
        error = f"no box in the answer {content[:80]!r}" if content else "the answer is empty"
    return Answer(status, parts.thought, error=error)


def _says_nothing(content: str, values: list[Any]) -> bool:
    if values:
        return all(is_nothing(value) for value in values)
    return content.lower() in _NOTHING_WORDS or bool(denying_clause(content))


def take_apart(text: str) -> Parts:
    """Thought and answers of a text, with or without tags. Never raises."""
    tags = [(tag[2].lower(), bool(tag[1])) for tag in _TAG.finditer(text)]
    if not tags:
        opener = re.search(r"[\[{]", text)
        thought = text[: opener.start()] if opener else text
        return Parts(_plain(thought), (text,) if text.strip() else (), False, bool(_HALF_TAG.search(text[-12:])))
    ends = list(_THOUGHT_END.finditer(text))
    # The thought may speak of the tags; its end is the one with the answer behind it.
    end = next((one for one in ends if "answer" in one[0].lower()), ends[0] if ends else None)
    first_answer = next((tag for tag in _TAG.finditer(text) if tag[2].lower() == "answer" and not tag[1]), None)
    if end is not None:
        close = _TAG.match(text, end.start())
        split = close.end() if close else end.end()
    elif first_answer is not None:
        split = first_answer.start()
    elif tags[0] == ("think", False):
        return Parts(_plain(text), (), True, True)
    else:
        split = 0
    thought, rest = text[:split], text[split:]
    answers = _answers(rest)
    last = [(tag[2].lower(), tag[1]) for tag in _TAG.finditer(rest)][-1:]
    open_end = bool(_HALF_TAG.search(rest[-12:])) or last == [("answer", "")]
    if not answers and _HALF_TAG.sub("", rest).strip():
        answers = [rest]
    return Parts(_plain(thought), tuple(answers), True, open_end)


def _answers(rest: str) -> list[str]:
    tags = [tag for tag in _TAG.finditer(rest) if tag[2].lower() == "answer"]
    ends = [tag.start() for tag in tags[1:]] + [len(rest)]
    return [rest[tag.end() : end] for tag, end in zip(tags, ends, strict=False) if not tag[1]]


def _plain(thought: str) -> str:
    return _FENCE.sub("", _TAG.sub("", thought)).strip()


def _candidates_in(answer: str) -> list[dict[str, Any]]:
    return [item for value in find_values(answer)[0] for item in candidates(value) if not is_nothing(item)]


def _detect(found: list[dict[str, Any]], parts: Parts) -> str:
    """The dialect that a text looks like; empty where nothing tells."""
    keys = {key for item in found for key in item}
    if keys & {"bbox", "points_1", "points_2"} and "bbox_2d" not in keys:
        return "seg_zero"
    if parts.tagged or "point_2d" in keys:
        return "vision_reasoner"
    return "qwen2.5-vl" if parts.answers and find_values(parts.answers[0])[0] else ""


def _mixed_up(spoken: str, looks_like: str) -> str:
    # Both Qwen dialects look the same.
    if not looks_like or spoken == looks_like or not ({spoken, looks_like} & set(_TAGGED)):
        return ""
    return f"the text looks like {looks_like}, not {spoken}: checkpoint and prompt (model card) may be mixed up"

"""Parses a model's text into an Answer in source pixels. Pure functions; no text makes them raise.

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
from reasonseg_ros.reasoner.dialects.absence import denying_clause, is_denial
from reasonseg_ros.reasoner.dialects.blocks import FinalAnswer, final_answer, is_announced, too_deep
from reasonseg_ros.reasoner.dialects.fields import Reading, SizeWh, joined_notes, read_groundings
from reasonseg_ros.reasoner.dialects.strict import parse_strictly
from reasonseg_ros.reasoner.image_size import default_answer_wh
from reasonseg_ros.types import Answer, Status

# A bounded number of spaces, so that many of them take no time.
_TAG = re.compile(r"<\s{0,3}(/?)\s{0,3}(think|answer)\s{0,3}>", re.IGNORECASE)
_HALF_TAG = re.compile(r"<\s{0,3}/?\s{0,3}[a-z]{0,6}\s{0,3}$", re.IGNORECASE)
_MOST_ENDS = 20
# End of the model's turn; a model that is not stopped continues with invented questions and answers.
_TURN_BEGIN = re.compile(r"\s*<\|im_start\|>\s*assistant\s*")
_TURN_END = re.compile(r"<\|(?:im_end|im_start|endoftext|eot_id)\|>|<end_of_turn>|</s>|\nuser\r?\n")
_FENCE = re.compile(r"```[a-z0-9]*", re.IGNORECASE)
_CUT = "the text ends before a complete box; raise max_new_tokens"
# After a box: words that may revoke it.
_GOES_ON = re.compile(r"\b(?:but|however|wait|not|actually|correct\w*|instead|sorry)\b|但|不|而是|하지만|아니")
_TAGGED = ("seg_zero", "vision_reasoner")


@dataclass(frozen=True)
class Parts:
    """A text split into thought and answers.

    Attributes:
        open_end: the text stops inside the thought, inside the answer, or inside a tag.
        is_closed: the text has the end tag of an answer, so nothing is lost if it is cut after that.
    """

    thought: str
    answers: tuple[str, ...]
    tagged: bool
    open_end: bool
    has_answer_tag: bool = False
    is_closed: bool = False


def parse_answer(
    text: str,
    source_wh: SizeWh,
    *,
    dialect: str = "auto",
    answer_wh: SizeWh | None = None,
    strict: bool = False,
    cut: bool = False,
) -> Answer:
    """The meaning of a model's text.

    Args:
        source_wh: the camera image, pixels.
        dialect: one of DIALECTS, or auto to detect it from the text.
        answer_wh: the image size that the text's coordinates refer to; None takes the dialect's usual one.
        strict: parse like the scoring scripts of the dialect's authors: no repair, no clipping, no contradiction.
        cut: the token limit was hit, so the end of the text is missing.

    If several answers are given, the first with a usable box counts. Unusable boxes of a list are left out and named
    in `error`. Raises InvalidInput for sizes below 1 or an unknown dialect, never for a text.
    """
    if min(*source_wh, *(answer_wh or (1, 1))) < 1:
        raise InvalidInput(f"image of {source_wh} answered in {answer_wh}; expected sizes of at least 1 pixel")
    if dialect not in ("auto", *DIALECTS):
        raise InvalidInput(f"dialect {dialect!r}; expected auto or one of {', '.join(DIALECTS)}")
    turn = own_turn(text)
    parts = take_apart(turn)
    cut = cut and not parts.is_closed and len(turn) == len(text)
    sizes = (source_wh, *([answer_wh] if answer_wh else []))
    answers = [final_answer(answer, sizes) for answer in parts.answers]
    if not parts.tagged and answers:
        parts = replace(parts, thought=_plain(answers[0].before) if answers[0].block else parts.thought)
    looks_like = _detect([item for answer in answers for item in answer.items], parts)
    spoken = dialect if dialect != "auto" else looks_like
    answer_wh = answer_wh or default_answer_wh(spoken, source_wh)
    if strict:
        answer = parse_strictly(text, source_wh, spoken or "vision_reasoner", answer_wh)
    else:
        answer = _read(parts, answers, source_wh, answer_wh, cut)
    mixed = _mixed_up(spoken, looks_like) if any(answer.items for answer in answers) else ""
    return replace(answer, dialect=spoken, raw_text=text, error=joined_notes([answer.error, mixed]))


def _read(parts: Parts, answers: list[FinalAnswer], source_wh: SizeWh, answer_wh: SizeWh, cut: bool) -> Answer:
    readings = [read_groundings(answer.items, answer_wh, source_wh) for answer in answers]
    index = next((i for i, one in enumerate(readings) if one.groundings), None)
    if index is None:
        return _without_box(parts, answers, readings, cut)
    reading, answer = readings[index], answers[index]
    notes = list(reading.notes)
    if sum(bool(one.groundings) for one in readings) > 1:
        notes.append("several answers; the first was taken")
    elif any(one.says_nothing or _denies(one, _bare(one.text)) for one in answers):
        notes.append("several answers, of which one denies the target; the one with a box was taken")
    if answer.drafts:
        notes.append(f"boxes in {answer.drafts + 1} places of the text; the final ones were taken")
    if answer.is_too_deep:
        notes.append(f"a part was left out: {too_deep()}")
    if cut or parts.open_end or answer.is_cut:
        if cut and _GOES_ON.search(answer.after):
            return Answer(Status.TRUNCATED, parts.thought, error=joined_notes([_CUT, *notes]))
        notes.append("the text is cut off; its complete boxes were kept")
    if clause := denying_clause(parts.thought):
        error = f'the thought says that the target is absent ("{clause[:200]}"), yet a box follows'
    elif clause := denying_clause(answer.after):
        error = f'a box is given, yet the text goes on that the target is absent ("{clause[:200]}")'
    else:
        return Answer(Status.OK, parts.thought, tuple(reading.groundings), error=joined_notes(notes))
    return Answer(Status.CONTRADICTION, parts.thought, error=joined_notes([error, *notes]))


def _without_box(parts: Parts, answers: list[FinalAnswer], readings: list[Reading], cut: bool) -> Answer:
    notes = [note for reading in readings for note in reading.notes]
    contents = [_bare(answer.text) for answer in answers]
    goes_on = cut or parts.open_end or any(answer.is_cut for answer in answers)
    status, error = Status.UNPARSABLE, joined_notes(notes)
    if any(reading.contradictory for reading in readings):
        status = Status.CONTRADICTION
    elif notes:
        pass
    elif any(answer.says_nothing and not (cut and _bare(answer.after)) for answer in answers):
        status = Status.NO_TARGET
        error = "boxes before it in the text were taken back" if any(answer.drafts for answer in answers) else ""
    elif not goes_on and any(map(_denies, answers, contents)):
        status, error = Status.NO_TARGET, ""
    elif any(answer.is_too_deep for answer in answers):
        error = too_deep()
    elif goes_on:
        status, error = Status.TRUNCATED, _CUT
    elif not answers and parts.thought and denying_clause(parts.thought):
        status = Status.NO_TARGET
    elif not answers:
        error = "no answer after the thought" if parts.thought else "the text is empty"
    else:
        content = " ".join(contents).strip()
        error = f"no box in the answer {content[:80]!r}" if content else "the answer is empty"
    return Answer(status, parts.thought, error=error)


def _denies(answer: FinalAnswer, content: str) -> bool:
    return answer.block is None and not answer.is_too_deep and is_denial(content)


def _bare(text: str) -> str:
    """The text without fences and other text around the answer."""
    return _FENCE.sub("", text).strip(" \n\t\r.\"'")


def own_turn(text: str) -> str:
    """The text up to the end of the model's turn, without special tokens."""
    begin = _TURN_BEGIN.match(text)
    start = begin.end() if begin else 0
    end = next((end.start() for end in _TURN_END.finditer(text, start) if text[start : end.start()].strip()), None)
    return text[start:end]


def take_apart(text: str) -> Parts:
    """Thought and answers of a text, with or without tags. Never raises."""
    tags = [(tag[2].lower(), bool(tag[1])) for tag in _TAG.finditer(text)]
    if not tags:
        opener = re.search(r"[\[{]", text)
        thought = text[: opener.start()] if opener else text
        return Parts(_plain(thought), (text,) if text.strip() else (), False, bool(_HALF_TAG.search(text[-12:])))
    split = _end_of_thought(text)
    if split is None:
        return Parts(_plain(text), (), True, True)
    thought, rest = text[:split], text[split:]
    answers = _answers(rest)
    has_answer_tag = bool(answers)
    last = [(tag[2].lower(), tag[1]) for tag in _TAG.finditer(rest)][-1:]
    open_end = bool(_HALF_TAG.search(rest[-12:])) or last == [("answer", "")]
    if not answers and _HALF_TAG.sub("", _TAG.sub("", rest)).strip():
        answers = [rest]
    is_closed = any(tag[1] and tag[2].lower() == "answer" for tag in _TAG.finditer(rest))
    return Parts(_plain(thought), tuple(answers), True, open_end, has_answer_tag, is_closed)


def _end_of_thought(text: str) -> int | None:
    """Where the answer begins; None if the thought has no end."""
    tags = [(tag.start(), tag.end(), ("/" if tag[1] else "") + tag[2].lower()) for tag in _TAG.finditer(text)]
    ends = [(number, end) for number, (_, end, name) in enumerate(tags) if name == "/think"]
    # The thought may mention the tags; its end is the tag that is followed by the answer tag.
    for number, end in ends:
        follower = tags[number + 1] if number + 1 < len(tags) else (0, 0, "")
        if follower[2] == "answer" and not text[end : follower[0]].strip():
            return end
    # Otherwise it is the last end tag with text after it: a thinking model's template may contain the start tag.
    if ends:
        filled = (end for _, end in reversed(ends[-_MOST_ENDS:]) if _TAG.sub("", text[end:]).strip())
        return next(filled, ends[0][1])
    first_answer = next((start for start, _, name in tags if name == "answer"), None)
    if first_answer is not None:
        return first_answer
    return None if tags[0][2] == "think" else 0


def _answers(rest: str) -> list[str]:
    """The content of answer tags.

    If words between two of them announce a correction, the earlier content is dropped.
    """
    tags = [tag for tag in _TAG.finditer(rest) if tag[2].lower() == "answer"]
    ends = [tag.start() for tag in tags[1:]] + [len(rest)]
    answers: list[str] = []
    for tag, end in zip(tags, ends, strict=False):
        if not tag[1]:
            answers.append(rest[tag.end() : end])
        elif end < len(rest) and is_announced(rest, tag.end(), end):
            answers.clear()
    return answers


def _plain(thought: str) -> str:
    return _FENCE.sub("", _TAG.sub("", thought)).strip()


def _detect(found: list[dict[str, Any]], parts: Parts) -> str:
    """The dialect that a text looks like; empty if that is not clear."""
    keys = {key for item in found for key in item}
    if keys & {"points_1", "points_2"} or ("bbox" in keys and "bbox_2d" not in keys and parts.has_answer_tag):
        return "seg_zero"
    # Thinking Qwen models write <think> tags too.
    if parts.has_answer_tag or "point_2d" in keys:
        return "vision_reasoner"
    return "qwen2.5-vl" if found else ""


def _mixed_up(spoken: str, looks_like: str) -> str:
    # Both Qwen dialects look the same.
    if not looks_like or spoken == looks_like or not ({spoken, looks_like} & set(_TAGGED)):
        return ""
    return f"the text looks like {looks_like}, not {spoken}: checkpoint and prompt (model card) may be mixed up"

"""Round 1 of a question about what happened: which of several frames shows the target, and how it looks there.

Source: Li et al., "ReVSeg: Incentivizing the Reasoning Chain for Video Segmentation with Reinforcement Learning", 2025,
arXiv:2512.02835. Its first round answers with `[{"frame_idx": k, "object description": "..."}]`; the second one is a
question about one image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.plain_text import one_line, plain_text
from reasonseg_ros.reasoner.dialects.absence import is_denial
from reasonseg_ros.reasoner.dialects.blocks import final_values
from reasonseg_ros.reasoner.dialects.candidates import is_nothing
from reasonseg_ros.reasoner.dialects.denials import denial_in
from reasonseg_ros.reasoner.dialects.parsing import own_turn, take_apart
from reasonseg_ros.types import Answer, Status

_PROSE = re.compile(r"\bframe(?:[ _-]?(?:idx|index|number|no\.?))?\W{0,4}(\d{1,4})\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,4}")
# Keys are compared in small letters with spaces, the first kind first.
_FRAME_KEYS = (
    re.compile(r"frame ?(?:idx|index|id|number|num|no)$|(?:key|best|chosen|selected|target|answer) ?frame$|^frame$"),
    re.compile(r"frame|^(?:idx|index|image)$"),
)
_NO_FRAME_KEY = re.compile(
    r"total|count|num ?frames|number of|frames number|size|rate|fps|shape|width|height|descri|frames considered|"
    r"(?:first|last|start|end) ?frame|frame ?(?:start|end)"
)
_DESCRIPTION_KEY = re.compile(r"descri|object|target|label|name")
_LONGEST_DESCRIPTION = 300


@dataclass(frozen=True)
class Keyframe:
    """The result of round 1.

    Attributes:
        status: OK with a keyframe; NO_TARGET if it says that nothing fits; else why there is no keyframe.
        index: of the keyframe among the frames that were shown, counted from 0; -1 without one.
        description: of the target, empty if none was given.
    """

    status: Status
    index: int = -1
    description: str = ""
    thought: str = ""
    raw_text: str = ""
    error: str = ""
    tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("thought", "raw_text"):
            object.__setattr__(self, name, plain_text(getattr(self, name)))
        for name in ("description", "error"):
            object.__setattr__(self, name, one_line(getattr(self, name)))


def failed_keyframe(answer: Answer) -> Keyframe:
    """The Keyframe of a round that ended without one, for the reason in `answer`."""
    return Keyframe(
        answer.status, thought=answer.thought, raw_text=answer.raw_text, error=answer.error, tokens=answer.tokens
    )


def round_messages(card: ModelCard, question: str, images: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chat messages of round 1 for a normalised question; `images` are content entries as in `prompts.chat`."""
    content: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        content += [{"type": "text", "text": card.frame_name.replace("{number}", str(number))}, image]
    words = card.frames_prompt.replace("{frames}", str(len(images))).replace("{query}", question)
    user = {"role": "user", "content": [*content, {"type": "text", "text": words}]}
    return [{"role": "system", "content": card.system}, user] if card.system else [user]


def parse_keyframe(text: str, frames: int, cut: bool = False, tokens: int = 0) -> Keyframe:
    """The meaning of a model's answer to round 1. Never raises.

    Args:
        frames: how many frames it was shown; they are numbered from 1.
        cut: the token limit was hit, so the end of the text is missing.

    Keys, quotes and number formats may differ from what was asked for. Of several frames the first that exists counts;
    of a draft and its correction, the correction. Prose has to name one frame only. If only the number is wrong, the
    description is still returned. A frame together with words that deny the target is a contradiction.
    """
    parts = take_apart(own_turn(text))
    cut = (cut or parts.open_end) and not parts.is_closed
    values = [value for answer in parts.answers for value in final_values(answer)]
    entries = list(_entries(values))
    found = [(_number(entry), _description(entry)) for entry in entries if not denial_in(entry)]
    if entries and not found and not cut:
        if not any(1 <= (_number(entry) or 0) <= frames for entry in entries):
            return Keyframe(Status.NO_TARGET, thought=parts.thought, raw_text=text, tokens=tokens)
        error = f"a frame is named, and yet the target is absent ({denial_in(entries[0])})"
        return Keyframe(Status.CONTRADICTION, -1, "", parts.thought, text, error, tokens)
    in_prose: set[int] = set()
    if not any(number is not None for number, _ in found):
        in_prose = {int(match[1]) for answer in parts.answers for match in _PROSE.finditer(answer)}
        found += [(number, "") for number in in_prose] if len(in_prose) == 1 else []
    for number, description in found:
        if number is not None and 1 <= number <= frames:
            return Keyframe(Status.OK, number - 1, description, parts.thought, text, tokens=tokens)
    description = next((words for _, words in found if words), "")
    numbers = [number for number, _ in found if number is not None]
    if len(in_prose) > 1:
        named = ", ".join(map(str, sorted(in_prose)[:5]))
        status, error = Status.UNPARSABLE, f"several frames are named in prose ({named}), and none as the answer"
    elif numbers:
        status, error = Status.UNPARSABLE, f"frame {numbers[0]}; there are frames 1 to {frames}"
    elif description:
        status, error = Status.UNPARSABLE, f"no frame is named for {description[:80]!r}"
    elif all(map(is_nothing, values)) if values else not cut and any(map(is_denial, parts.answers)):
        return Keyframe(Status.NO_TARGET, thought=parts.thought, raw_text=text, tokens=tokens)
    elif cut:
        status, error = Status.TRUNCATED, "the text ends before a frame is named; raise max_new_tokens"
    else:
        status, error = Status.UNPARSABLE, f"no frame is named in {text[-80:]!r}"
    return Keyframe(status, -1, description, parts.thought, text, error, tokens)


def _entries(values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Every object at any depth that names a frame or describes something, with normalised keys."""
    for value in values:
        if isinstance(value, list):
            yield from _entries(value)
        elif isinstance(value, dict):
            keyed = {str(key).lower().replace("_", " ").strip(): item for key, item in value.items()}
            if any(_is_frame_key(key) or _DESCRIPTION_KEY.search(key) for key in keyed):
                yield keyed
            yield from _entries([item for item in value.values() if isinstance(item, (dict, list))])


def _is_frame_key(key: str) -> bool:
    return bool(_FRAME_KEYS[-1].search(key)) and not _NO_FRAME_KEY.search(key)


def _number(entry: dict[str, Any]) -> int | None:
    keys = [key for key in entry if _is_frame_key(key)]
    for key in sorted(keys, key=lambda key: not _FRAME_KEYS[0].search(key)):
        value = entry[key]
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
            return int(min(max(value, -1), 9999))
        if isinstance(value, str) and (digits := _NUMBER.search(value)):
            return int(digits[0])
    return None


def _description(entry: dict[str, Any]) -> str:
    for key, value in entry.items():
        if _DESCRIPTION_KEY.search(key) and "frame" not in key and isinstance(value, str):
            return " ".join(value.split())[:_LONGEST_DESCRIPTION]
    return ""


def sampled(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` frames, evenly spaced, including the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)] if most > 1 else [count - 1]


def shown_wh(card: ModelCard) -> tuple[int, int] | None:
    """The size at which round 1 shows each frame; None leaves it to the processor."""
    return card.frames_size_wh or card.image_size_wh

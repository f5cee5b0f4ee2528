"""Questions for a robot's own bag, from a YAML file: what to ask, and when."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.bounded import read_text
from reasonseg_ros.files.strict_yaml import parse_yaml

EPOCH_S = 1e8
"""Larger times are seconds since the epoch; smaller ones are seconds after the bag's first image."""

_EXAMPLE = "a list of entries with time_s (seconds) and text, and optionally id"


@dataclass(frozen=True)
class TimedQuestion:
    time_s: float
    text: str
    question_id: str = ""

    def stamp_ns(self, first_image_ns: int) -> int:
        start_ns = 0 if self.time_s > EPOCH_S else first_image_ns
        return start_ns + round(self.time_s * 1e9)


def read_questions(path: Path) -> list[TimedQuestion]:
    """The questions of a YAML file in the order of their times. Raises InvalidInput with the entry that is wrong."""
    try:
        entries = parse_yaml(read_text(path))
    except RecursionError as error:
        raise InvalidInput(f"questions {path} are nested too deeply; expected {_EXAMPLE}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: an impossible date or number
        raise InvalidInput(f"questions {path} cannot be read: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(f"questions {path}: expected {_EXAMPLE}")
    questions = [_question(path, number, entry) for number, entry in enumerate(entries, 1)]
    return sorted(questions, key=lambda question: question.stamp_ns(0))


def _question(path: Path, number: int, entry: object) -> TimedQuestion:
    if isinstance(entry, dict) and {"time_s", "text"} <= entry.keys() <= {"time_s", "text", "id"}:
        time_s, text = entry["time_s"], entry["text"]
        timed = isinstance(time_s, (int, float)) and not isinstance(time_s, bool) and 0 <= time_s < 1e12
        if timed and isinstance(text, str) and text.strip():
            return TimedQuestion(float(time_s), text, str(entry.get("id", "")))
    raise InvalidInput(f"questions {path}: entry {number} is {entry!r:.200}; expected {_EXAMPLE}")

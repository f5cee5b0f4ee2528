"""Checks, and their findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from reasonseg_ros.config import Config


class Level(str, Enum):
    """`FAULT`: something that the settings need does not work. `WARNING`: it works, with a loss or a risk."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """One line of the report. Raises ValueError for a warning or a fault without a remedy."""

    level: Level
    text: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.level is not Level.OK and not self.remedy:
            raise ValueError(f"{self.level} without a remedy: {self.text}")


@dataclass(frozen=True)
class Wanted:
    """The settings of the checks.

    Attributes:
        config: the node's settings.
        online: whether to query the hub.
        topics: names of the topics by `image`, `camera_info` and `depth`; empty: topics are not checked.
        listen_s: time to listen to topics, seconds.
    """

    config: Config = field(default_factory=Config)
    online: bool = False
    topics: dict[str, str] = field(default_factory=dict)
    listen_s: float = 3.0


@dataclass(frozen=True)
class Check:
    """`look` collects facts and may raise; `judge` is a pure function from facts to findings."""

    name: str
    look: Callable[[Wanted], Any]
    judge: Callable[[Any], list[Finding]]


def ok(text: str) -> Finding:
    return Finding(Level.OK, text)


def warning(text: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, text, remedy)


def fault(text: str, remedy: str) -> Finding:
    return Finding(Level.FAULT, text, remedy)

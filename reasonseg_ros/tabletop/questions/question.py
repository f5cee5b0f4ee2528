"""A question about a scene, with its thought and its answer."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("function", "attribute", "relation", "comparison", "multi_step", "several", "none")
PART_KIND = "part"
UNKNOWN_KIND = "unknown"
"""Kind of questions about something that is in no scene."""


@dataclass(frozen=True)
class ThoughtPiece:
    """A piece of the thought's text, and the instances it is about; none if it says that nothing fits."""

    text: str
    attends: tuple[int, ...]


@dataclass(frozen=True)
class SceneQuestion:
    """A question with its answer.

    Attributes:
        kind: one of KINDS, PART_KIND or UNKNOWN_KIND.
        thought: pieces; their joined texts are the thought.
        targets: instance ids from left to right, empty if nothing fits.
        part: the requested part, else empty.
    """

    kind: str
    text: str
    thought: tuple[ThoughtPiece, ...]
    targets: tuple[int, ...]
    part: str = ""

    @property
    def thought_text(self) -> str:
        return "".join(piece.text for piece in self.thought)

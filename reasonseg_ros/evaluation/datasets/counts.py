"""Counts of what was converted from a data set and what was left out, with a line for each problem."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class Counts:
    """Pictures (stills, or frames of a video) and questions about them. Always read = written + left out.

    A question about several frames counts once for each. Questions about a picture that cannot be opened are unknown
    and not counted. `question_ids` are those of the written stills.
    """

    pictures_read: int = 0
    pictures_written: int = 0
    pictures_left_out: int = 0
    questions_read: int = 0
    questions_written: int = 0
    questions_left_out: int = 0
    shapes_left_out: int = 0
    unlabelled: int = 0
    question_ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{entry.name: getattr(self, entry.name) + getattr(other, entry.name) for entry in fields(self)})

    @property
    def complete(self) -> bool:
        """Whether nothing had to be left out."""
        return not (self.pictures_left_out or self.questions_left_out or self.shapes_left_out)

    def lines(self) -> list[str]:
        lines = [
            f"pictures: {self.pictures_read} read, {self.pictures_written} written, {self.pictures_left_out} left out",
            f"questions: {self.questions_read} read, {self.questions_written} written, "
            f"{self.questions_left_out} left out",
        ]
        if self.shapes_left_out:
            lines.append(f"shapes: {self.shapes_left_out} left out")
        if self.unlabelled:
            lines.append(f"not scored: {self.unlabelled} pairs of a question and a frame without a published mask")
        return lines

"""The format of training data: an image, a question, its targets, and optionally a thought.

A folder holds `rows.jsonl` and the images that it names. A line is

    {"id": "...", "image": "images/1.png", "question": "...", "thought": "",
     "targets": [{"box_xyxy": [x1, y1, x2, y2], "points_xy": [[x, y], ...]}, ...]}

Boxes are inclusive, and points are inside the mask, all in pixels of the image squashed to 840 x 840. Without targets,
nothing in the image fits. Source: the data preparation of Liu et al., "Seg-Zero:
Reasoning-Chain Guided Segmentation via Cognitive Reinforcement", 2025, arXiv:2503.06520.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.files.whole_file import whole_file

TRUTH_PX = 840
"""Side of the squashed image, in whose pixels targets are given."""
ROWS_NAME = "rows.jsonl"

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2, both corners inclusive, pixels of the squashed image."""


def check_box(box_xyxy: Box) -> None:
    """Raises InvalidInput for a box outside the squashed image, or with its corners in the wrong order."""
    if not all(math.isfinite(number) and 0 <= number <= TRUTH_PX for number in box_xyxy):
        raise InvalidInput(f"target box {box_xyxy}; expected coordinates from 0 to {TRUTH_PX}")
    if box_xyxy[0] > box_xyxy[2] or box_xyxy[1] > box_xyxy[3]:
        raise InvalidInput(f"target box {box_xyxy}; expected x1 <= x2 and y1 <= y2")


@dataclass(frozen=True)
class TrueTarget:
    """One target: its inclusive box and one or two points inside, in pixels of the squashed image.

    Raises InvalidInput for coordinates out of range.
    """

    box_xyxy: Box
    points_xy: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        check_box(self.box_xyxy)
        numbers = [number for point in self.points_xy for number in point]
        if not all(math.isfinite(number) and 0 <= number <= TRUTH_PX for number in numbers):
            raise InvalidInput(f"target points {self.points_xy}; expected coordinates from 0 to {TRUTH_PX}")
        if not 1 <= len(self.points_xy) <= 2:
            raise InvalidInput(f"{len(self.points_xy)} points in a target; expected one or two")


@dataclass(frozen=True)
class TrainingRow:
    """A question about an image, with its targets. `image` is a path in the folder of the rows."""

    id: str
    image: str
    question: str
    targets: tuple[TrueTarget, ...]
    thought: str = ""

    def __post_init__(self) -> None:
        check_row(self)

    @property
    def images(self) -> Sequence[str]:
        return (self.image,)


class AnyRow(Protocol):
    """The common part of rows about images and rows about videos."""

    @property
    def id(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def images(self) -> Sequence[str]: ...


_Row = TypeVar("_Row", bound=AnyRow)


def check_row(row: AnyRow) -> None:
    """Raises InvalidInput for an empty question, or an image path outside the folder."""
    if not row.question.strip():
        raise InvalidInput(f"row {row.id!r} has no question")
    for image in row.images:
        path = PurePosixPath(image)
        if not image or path.is_absolute() or ".." in path.parts:
            raise InvalidInput(f"row {row.id!r} names the image {image!r}; expected a path inside its folder")


def write_rows(folder: Path, rows: Iterable[Any]) -> None:
    """Write `rows.jsonl`. The caller writes the images."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / ROWS_NAME) as file:
        for row in rows:
            file.write(json_text(asdict(row)) + "\n")


def read_rows(folder: Path) -> list[TrainingRow]:
    """All rows of a folder, about images. Raises InvalidInput as `read_any_rows` does."""
    return read_any_rows(folder, row_from_values)


def read_any_rows(folder: Path, from_values: Callable[[Any], _Row]) -> list[_Row]:
    """All rows of a folder. Raises InvalidInput with file and line for an invalid row, and if there is none."""
    path = folder / ROWS_NAME
    try:
        # Not splitlines, because a question may contain Unicode's other line separators.
        lines = read_data(path).decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {error}; expected a folder with {ROWS_NAME}") from None
    if not lines[-1]:
        lines.pop()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = from_values(parse_json(line))
            if missing := [image for image in row.images if not (folder / image).is_file()]:
                raise InvalidInput(f"there is no image {missing[0]}")
        except InvalidInput as error:
            raise InvalidInput(f"{path}, line {number}: {error}") from None
        rows.append(row)
    if not rows:
        raise InvalidInput(f"{path} has no rows")
    return rows


def row_from_values(values: Any) -> TrainingRow:
    """A row from the values of its JSON line. Raises InvalidInput."""
    if isinstance(values, dict) and "frames" in values:
        raise InvalidInput("the row is about a video; train on it with a reward for two rounds, as revseg")
    try:
        texts = {name: values[name] for name in ("id", "image", "question")} | {"thought": values.get("thought", "")}
        targets = targets_from_values(values["targets"])
    except (LookupError, TypeError, AttributeError) as error:
        raise InvalidInput(f"no training row: {type(error).__name__} {error}") from None
    if wrong := [name for name, text in texts.items() if not isinstance(text, str)]:
        raise InvalidInput(f"{wrong[0]} is {texts[wrong[0]]!r}; expected text")
    return TrainingRow(**texts, targets=targets)


def targets_from_values(values: Any) -> tuple[TrueTarget, ...]:
    """Targets from the JSON list of a row. Raises InvalidInput."""
    if not isinstance(values, list):
        raise InvalidInput(f"targets are {values!r:.100}; expected a list")
    targets = []
    for value in values:
        try:
            box, points = value["box_xyxy"], value["points_xy"]
            x1, y1, x2, y2 = (json_number(value) for value in box)
            targets.append(TrueTarget((x1, y1, x2, y2), tuple((json_number(x), json_number(y)) for x, y in points)))
        except (LookupError, TypeError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput(f"target {value!r:.200}; expected box_xyxy with 4 numbers and points_xy") from None
    return tuple(targets)


def json_number(value: Any) -> float:
    """A JSON number as float. Raises TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(value)
    return float(value)

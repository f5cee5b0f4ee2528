"""Training rows about videos: the frames, a question about what happened, and the target's box in each frame.

A folder holds `rows.jsonl` and the images that it names. A line is

    {"id": "...", "frames": ["images/7-1.png", ...], "question": "...", "boxes_xyxy": [[x1, y1, x2, y2], null, ...]}

with a box for each frame that shows the target clearly and null for the others. Pixels are as in `rows`. Without any
box, nothing in the video fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.rows import Box, check_box, check_row, json_number, read_any_rows


@dataclass(frozen=True)
class VideoRow:
    """A question about the frames of a video, with its target. `frames` are paths in the folder of the rows."""

    id: str
    frames: tuple[str, ...]
    question: str
    boxes_xyxy: tuple[Box | None, ...]

    def __post_init__(self) -> None:
        check_row(self)
        if len(self.frames) < 2 or len(self.frames) != len(self.boxes_xyxy):
            raise InvalidInput(
                f"row {self.id!r} has {len(self.frames)} frames and {len(self.boxes_xyxy)} boxes; "
                "expected two frames or more, and a box or null for each"
            )

    @property
    def images(self) -> Sequence[str]:
        return self.frames


def read_video_rows(folder: Path) -> list[VideoRow]:
    """All rows of a folder, about videos. Raises InvalidInput as `read_any_rows` does, and for different lengths."""
    rows = read_any_rows(folder, _row)
    counts = sorted({len(row.frames) for row in rows})
    if len(counts) > 1:
        raise InvalidInput(f"the videos of {folder} have {counts[0]} to {counts[-1]} frames; expected one number")
    return rows


def _row(values: Any) -> VideoRow:
    if isinstance(values, dict) and "frames" not in values and "image" in values:
        raise InvalidInput("the row is about one image; a reward for two rounds needs rows about videos")
    try:
        texts = [values["id"], values["question"], *values["frames"]]
        boxes = boxes_from_values(values["boxes_xyxy"])
        if not isinstance(values["frames"], list) or not all(isinstance(text, str) for text in texts):
            raise InvalidInput("id, question and frames are not all text")
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"no row about a video: {type(error).__name__} {error}") from None
    return VideoRow(values["id"], tuple(values["frames"]), values["question"], boxes)


def boxes_from_values(values: Any) -> tuple[Box | None, ...]:
    """A box or None for each frame, from the JSON list of a row. Raises InvalidInput."""
    if not isinstance(values, list) or not values:
        raise InvalidInput(f"boxes {values!r:.200}; expected a list with [x1, y1, x2, y2] or null for each frame")
    try:
        boxes = tuple(None if box is None else _box(box) for box in values)
    except (TypeError, ValueError):
        raise InvalidInput(f"boxes {values!r:.200}; expected [x1, y1, x2, y2] or null for each frame") from None
    for box in boxes:
        if box is not None:
            check_box(box)
    return boxes


def _box(values: Any) -> Box:
    x1, y1, x2, y2 = (json_number(value) for value in values)
    return x1, y1, x2, y2

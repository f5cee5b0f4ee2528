"""Writes the questions of a run as bags with ground truth, one per split."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from reasonseg_ros.data_engine.records import DataQuestion, read_decisions, read_questions_file
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.conversion import Plan, write_dataset
from reasonseg_ros.evaluation.datasets.pictures import read_picture
from reasonseg_ros.evaluation.datasets.records import Item, LabelledQuestion, Picture, gather
from reasonseg_ros.geometry import innermost_xy, mask_box
from reasonseg_ros.images.run_lengths import mask_from_rle

BAGS_NAME = "bags"


@dataclass(frozen=True)
class WrittenBag:
    """A bag with its numbers of pictures and questions. `problems` has a line for each one that was left out."""

    path: Path
    pictures: int
    questions: int
    problems: tuple[str, ...] = ()


def chosen_questions(folder: Path) -> list[DataQuestion]:
    """The questions for the bags: all of them, or only the accepted ones once a question was reviewed."""
    questions, decisions = read_questions_file(folder), read_decisions(folder)
    return questions if decisions is None else [one for one in questions if decisions.get(one.id)]


def lost_decisions(folder: Path) -> int:
    """How many decisions are about questions that are not in the folder any more, or have other targets now."""
    known = {one.id for one in read_questions_file(folder)}
    return len((read_decisions(folder) or {}).keys() - known)


def write_bags(folder: Path, on_done: Callable[[int], None] = lambda _: None) -> list[WrittenBag]:
    """Write `bags/SPLIT` for each split with questions. Bags of splits whose questions were all rejected are removed.

    `on_done` receives the number of finished pictures. Raises InvalidInput if there is no question.
    """
    questions = chosen_questions(folder)
    if not questions:
        raise InvalidInput(f"no question in {folder} to write; accept some, or see rejected.jsonl for the reasons")
    bags = folder / BAGS_NAME
    bags.mkdir(exist_ok=True)
    by_split: dict[str, list[DataQuestion]] = {}
    for one in questions:
        by_split.setdefault(one.split, []).append(one)
    for split in {one.split for one in read_questions_file(folder)} - set(by_split):
        if not (bags / split).is_symlink():
            shutil.rmtree(bags / split, ignore_errors=True)
    written, done = [], 0
    for split, listed in by_split.items():
        items = _items(folder, listed)
        content = hashlib.sha256("\n".join(one.id for one in listed).encode()).hexdigest()
        counts = write_dataset(
            items, Plan(f"reasonseg data {content}", split), bags / split, force=True, restart=True,
            progress=lambda count, before=done: on_done(before + count),  # type: ignore[misc]
        )  # fmt: skip
        done += len(items)
        written.append(
            WrittenBag(bags / split, counts.pictures_written, counts.questions_written, tuple(counts.problems))
        )
    return written


def other_bags(folder: Path, written: Sequence[WrittenBag]) -> list[Path]:
    """Other paths beside the bags, for example of the splits of an earlier run."""
    known = {bag.path.name for bag in written}
    return sorted(path for path in (folder / BAGS_NAME).iterdir() if path.name not in known)


def _items(folder: Path, questions: Sequence[DataQuestion]) -> list[Item]:
    groups = groupby(sorted(questions, key=lambda one: one.picture), key=lambda one: one.picture)
    return [Item(picture, (partial(_load, folder / picture, list(listed)),)) for picture, listed in groups]


def _load(path: Path, questions: Sequence[DataQuestion]) -> Picture:
    return gather(read_picture(path), [(one.id, partial(_labelled, one)) for one in questions])


def _labelled(question: DataQuestion) -> LabelledQuestion:
    boxes, points = [], []
    for mask in question.masks():
        box = mask_box(mask)
        if box is None:
            raise InvalidInput("a target has an empty mask")
        boxes.append(tuple(box.tolist()))
        points.append(tuple(innermost_xy(mask).tolist()))
    ignored = None if question.ignored is None else mask_from_rle(question.ignored)
    return LabelledQuestion(
        question.id, question.question, question.mask(), ignored, question.kind, question.answer, True,
        boxes_xyxy=tuple(boxes), points_xy=tuple(points),
    )  # fmt: skip

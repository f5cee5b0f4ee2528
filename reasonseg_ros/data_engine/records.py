"""The files in the folder of a run: `questions.jsonl`, `rejected.jsonl`, `decisions.jsonl` and `pictures/`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from reasonseg_ros.data_engine.splits import SPLIT_NAME
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import naming
from reasonseg_ros.files.appended import append_line, open_appended
from reasonseg_ros.files.bounded import read_data
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.images.run_lengths import Rle, mask_from_rle
from reasonseg_ros.types import BoolMask

QUESTIONS_NAME, REJECTED_NAME, DECISIONS_NAME = "questions.jsonl", "rejected.jsonl", "decisions.jsonl"
PICTURES_NAME = "pictures"


@dataclass(frozen=True)
class AnsweringObject:
    """An object that answers a question. `mask` holds its COCO run lengths."""

    name: str
    mask: Rle


@dataclass(frozen=True)
class DataQuestion:
    """A question that broke no rule.

    Attributes:
        id: derived from picture, words, answer and targets, so that a decision never applies to another question.
        picture: path of the image in the folder of the run.
        source: name of the picture in its source.
        ignored: run lengths of the pixels to ignore in scoring; None for none.
    """

    id: str
    picture: str
    source: str
    split: str
    kind: str
    question: str
    answer: str
    targets: tuple[AnsweringObject, ...]
    ignored: Rle | None = None

    def masks(self) -> list[BoolMask]:
        """One for each target, bool [H, W]. Raises InvalidInput if the run lengths are damaged."""
        return [mask_from_rle(target.mask) for target in self.targets]

    def mask(self) -> BoolMask:
        """The union of the targets, bool [H, W]."""
        union: BoolMask = np.logical_or.reduce(self.masks())
        return union


@dataclass(frozen=True)
class Rejected:
    """A refused text. `text` is empty if the reasons are about the whole picture, or about a missing reply."""

    source: str
    text: str
    reasons: tuple[str, ...]


def question_id(digest: str, question: str, answer: str, targets: Iterable[AnsweringObject]) -> str:
    """The id of a question, from its image's digest and everything that a reviewer sees."""
    seen = json_text([question, answer, [asdict(target) for target in targets]], compact=True)
    return f"{digest[:12]}-{hashlib.sha256(seen.encode('utf-8', 'replace')).hexdigest()[:12]}"


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write dataclasses as JSON lines, one each. The file is replaced only when all are written."""
    with whole_file(path) as file:
        for value in values:
            file.write(json_text(asdict(value), compact=True) + "\n")


def read_questions_file(folder: Path) -> list[DataQuestion]:
    """The questions in the folder of a run. Raises InvalidInput with file and line if one is invalid."""
    path = folder / QUESTIONS_NAME
    questions = []
    for number, values in _lines(path, f"give the folder of a run of `reasonseg data` instead of {folder}"):
        try:
            questions.append(_question(values))
        except (InvalidInput, LookupError, TypeError, AttributeError) as error:
            raise InvalidInput(f"{path}, line {number} is no question ({error}); run `reasonseg data` again") from error
    return questions


def read_decisions(folder: Path) -> dict[str, bool] | None:
    """Whether each reviewed question was accepted, by id. The last decision counts. None if there was no review.

    Raises InvalidInput with file and line if a decision is invalid.
    """
    path = folder / DECISIONS_NAME
    if not path.exists():
        return None
    decisions: dict[str, bool] = {}
    for number, values in _lines(path, "", may_break_off=True):
        if not isinstance(values, dict) or not isinstance(values.get("id"), str):
            raise InvalidInput(f"{path}, line {number} is no decision; remove it")
        if values.get("accepted") is None:
            decisions.pop(values["id"], None)
        elif isinstance(values["accepted"], bool):
            decisions[values["id"]] = values["accepted"]
        else:
            raise InvalidInput(
                f"{path}, line {number}: accepted is {values['accepted']!r:.40}; expected true, false or null"
            )
    return decisions


def add_decision(folder: Path, an_id: str, is_accepted: bool | None) -> None:
    """Append a decision to the file on the disk. None undoes an earlier one."""
    path = folder / DECISIONS_NAME
    with naming(path), open_appended(path) as file:
        file.truncate(file.read().rfind(b"\n") + 1)  # remove the incomplete line of a killed process
        file.seek(0, os.SEEK_END)
        append_line(file, {"id": an_id, "accepted": is_accepted})


def _lines(path: Path, remedy: str, may_break_off: bool = False) -> Iterable[tuple[int, Any]]:
    try:
        lines = read_data(path).split(b"\n")
    except FileNotFoundError:
        raise InvalidInput(f"there is no {path}; {remedy}") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines[:-1] if may_break_off or not lines[-1] else lines, 1):
        try:
            yield number, parse_json(line)
        except InvalidInput as error:
            raise InvalidInput(f"{path}, line {number} is no JSON ({error}); remove it") from error


def _question(values: Any) -> DataQuestion:
    names = ("id", "picture", "source", "split", "kind", "question", "answer")
    texts = {name: values[name] for name in names}
    if wrong := [name for name in names if not isinstance(texts[name], str)]:
        raise InvalidInput(f"{wrong[0]} is {texts[wrong[0]]!r:.60}; expected text")
    if not SPLIT_NAME.fullmatch(texts["split"]):
        raise InvalidInput(f"its split is {texts['split']!r:.60}; expected a plain name such as train")
    path = PurePosixPath(texts["picture"])
    if path.parent != PurePosixPath(PICTURES_NAME) or path.name in ("", ".", ".."):
        raise InvalidInput(f"it names the image {texts['picture']!r:.80}; expected one in {PICTURES_NAME}/")
    targets = tuple(AnsweringObject(str(target["name"]), target["mask"]) for target in values["targets"])
    if not targets:
        raise InvalidInput("it has no target")
    ignored = values.get("ignored")
    for runs in (*(target.mask for target in targets), *([] if ignored is None else [ignored])):
        mask_from_rle(runs)
    return DataQuestion(**texts, targets=targets, ignored=ignored)

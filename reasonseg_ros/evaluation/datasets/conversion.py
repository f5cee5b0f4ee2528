"""Writes the items of a data set to a bag. The conversion may be interrupted at any time and continued later.

Finished parts are small bags in a folder beside the bag. They are joined at the end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from reasonseg_ros import bags
from reasonseg_ros.bags.topics import COMPRESSED_IMAGE_TOPIC, FRAME_ID, GROUND_TRUTH_TOPIC, QUERY_TOPIC, START_NS
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.counts import Counts
from reasonseg_ros.evaluation.datasets.records import Item, Picture
from reasonseg_ros.faults import reason
from reasonseg_ros.files.strict_json import parse_json
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.files.yaml_loader import Loader
from reasonseg_ros.types import Query

DATA_SET_KEY = "reasonseg_data_set"
"""Key in the bag's metadata (`custom_data`) for the published split that it holds, for example `ReasonSeg val`."""

PICTURES_PER_PART = 50
"""At most this many pictures are read again after an interruption."""


@dataclass(frozen=True)
class Plan:
    """What is converted.

    Attributes:
        source: the data set and its options. An unfinished conversion is only continued for the same source.
        period_ns: time from one picture to the next.
        data_set: name and split of the published set, for the bag's metadata; empty if not known.
    """

    source: str
    split: str
    period_ns: int = 10**9
    data_set: str = ""


def data_set_of(bag: Path) -> str:
    """Name and split of the published set that a bag was converted from; empty if its metadata do not name it."""
    try:
        information = yaml.load((bag / "metadata.yaml").read_text(encoding="utf-8"), Loader)
        return str((information["rosbag2_bagfile_information"].get("custom_data") or {}).get(DATA_SET_KEY) or "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return ""


def parts_folder(path: Path) -> Path:
    """The folder for the finished parts of an unfinished bag."""
    return path.absolute().with_name(f".{path.name}.parts")


def write_dataset(
    items: Sequence[Item],
    plan: Plan,
    path: Path,
    force: bool = False,
    restart: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Counts:
    """Write the bag; `progress` is called with the number of finished items.

    Parts of an interrupted run are reused unless `restart` is set. Raises InvalidInput if `path` exists and `force` is
    not set, or if the parts belong to another conversion.
    """
    whole = bags.BagWriter(path, force)
    folder = parts_folder(path)
    _prepare(folder, _fingerprint(items, plan), restart)
    total = Counts()
    used: set[str] = set()
    done = first_picture = 0
    parts = []
    for number, group in enumerate(_groups(items)):
        part = folder / f"{number:06d}"
        parts.append(part)
        report = part.with_suffix(".json")
        counts = _finished(report)
        if counts is not None:
            used.update(counts.question_ids)
        else:
            counts = Counts()
            with bags.BagWriter(part, force=True) as bag:
                start_ns = START_NS + first_picture * plan.period_ns
                for written, item in enumerate(group, 1):
                    start_ns = _write_item(bag, item, plan, start_ns, counts, used)
                    progress(done + written)
            _write_text(report, json.dumps(asdict(counts)))
        total += counts
        done += len(group)
        first_picture += sum(len(item.loads) for item in group)
        progress(done)
    with whole as bag:
        if plan.data_set:
            bag.note(DATA_SET_KEY, plan.data_set)
        for part in parts:
            with bags.BagReader(part) as reader:
                for topic, stamp_ns, data in reader.raw():
                    bag.write_raw(topic, reader.topics[topic], data, stamp_ns)
    shutil.rmtree(folder)
    return total


def _finished(report: Path) -> Counts | None:
    """The counts of a part that an earlier run finished; None if it has to be written, or its report is damaged."""
    try:
        return Counts(**parse_json(report.read_bytes()))
    except (FileNotFoundError, InvalidInput, TypeError):
        return None


def _prepare(folder: Path, fingerprint: str, restart: bool) -> None:
    if folder.is_symlink():
        raise InvalidInput(f"{folder}, where parts are kept, is a symbolic link; remove it")
    known = folder / "fingerprint"
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
    if known.is_file() and known.read_text(encoding="utf-8") != fingerprint:
        raise InvalidInput(f"{folder} holds an unfinished conversion of other data; pass --restart to drop it")
    folder.mkdir(parents=True, exist_ok=True)
    _write_text(known, fingerprint)


def _fingerprint(items: Sequence[Item], plan: Plan) -> str:
    content = [repr(plan), *(f"{item.name} {len(item.loads)}" for item in items)]
    return hashlib.sha256("\n".join(content).encode("utf-8", "backslashreplace")).hexdigest()


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text)


def _groups(items: Sequence[Item]) -> Iterator[list[Item]]:
    group: list[Item] = []
    for item in items:
        group.append(item)
        if sum(len(known.loads) for known in group) >= PICTURES_PER_PART:
            yield group
            group = []
    if group:
        yield group


def _write_item(bag: bags.BagWriter, item: Item, plan: Plan, start_ns: int, counts: Counts, used: set[str]) -> int:
    """Write a still or a video from `start_ns` on; returns the start of the next item in nanoseconds.

    An id that is already `used` gets a number. Otherwise two questions with the same text would become one video.
    """
    asked: set[str] = set()
    problems: dict[str, list[int]] = {}
    for number, load in enumerate(item.loads):
        counts.pictures_read += 1
        try:
            picture = load()
        except Exception as error:  # a malformed annotation may raise anything; only its picture is left out
            counts.pictures_left_out += 1
            problems.setdefault(reason(error), []).append(number)
            continue
        for problem in picture.problems:
            problems.setdefault(problem, []).append(number)
        counts.questions_read += len(picture.questions) + picture.questions_left_out
        counts.questions_written += len(picture.questions)
        counts.questions_left_out += picture.questions_left_out
        counts.shapes_left_out += picture.shapes_left_out
        counts.unlabelled += picture.unlabelled
        if len(item.loads) == 1 and not picture.questions:
            counts.pictures_left_out += 1  # without questions only the frames of a video are of use
            continue
        counts.pictures_written += 1
        if len(item.loads) == 1:
            picture = _with_new_ids(picture, used)
            counts.question_ids += [question.question_id for question in picture.questions]
        _write_picture(bag, picture, plan, start_ns + number * plan.period_ns, asked)
    counts.problems += [_problem_line(item, problem, frames) for problem, frames in problems.items()]
    return start_ns + len(item.loads) * plan.period_ns


def _with_new_ids(picture: Picture, used: set[str]) -> Picture:
    questions = []
    for question in picture.questions:
        question_id, number = question.question_id, 1
        while question_id in used:
            number += 1
            question_id = f"{question.question_id}#{number}"
        used.add(question_id)
        questions.append(replace(question, question_id=question_id))
    return replace(picture, questions=tuple(questions))


def _problem_line(item: Item, problem: str, frames: list[int]) -> str:
    """One line, however many frames of a video have the problem."""
    where = ""
    if len(item.loads) > 1:
        where = f", frame {frames[0]}" if len(frames) == 1 else f", {len(frames)} frames from {frames[0]} on"
    return f"{item.name}{where}: {problem}"


def _write_picture(bag: bags.BagWriter, picture: Picture, plan: Plan, stamp_ns: int, asked: set[str]) -> None:
    image = bags.compressed_image_message(picture.image.data, picture.image.format, stamp_ns, FRAME_ID)
    bag.write(COMPRESSED_IMAGE_TOPIC, image, stamp_ns)
    for number, question in enumerate(picture.questions, 1):
        query = Query(question.text, question.question_id)
        # Before the next picture, so that a played bag asks about the right one.
        asked_ns = stamp_ns + number * plan.period_ns // (len(picture.questions) + 1)
        if question.question_id not in asked:
            asked.add(question.question_id)
            bag.write(QUERY_TOPIC, bags.query_message(query), asked_ns)
        truth = bags.ground_truth_message(
            query, question.mask, stamp_ns, FRAME_ID, ignore=question.ignore, kind=question.kind,
            thought=question.thought, split=plan.split, is_sentence=question.is_sentence,
            boxes_xyxy=question.boxes_xyxy, points_xy=question.points_xy,
        )  # fmt: skip
        bag.write(GROUND_TRUTH_TOPIC, truth, asked_ns)

"""A run: requests questions about several pictures in parallel, and writes the folder. A killed run can continue."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from reasonseg_ros.data_engine.asking import NoReply, PictureAsker, Questioned, Stopped, Wishes
from reasonseg_ros.data_engine.model import Model
from reasonseg_ros.data_engine.pictures import LoadedPicture, SourcePicture, ignored_mask
from reasonseg_ros.data_engine.records import (
    PICTURES_NAME,
    QUESTIONS_NAME,
    REJECTED_NAME,
    AnsweringObject,
    DataQuestion,
    Rejected,
    question_id,
    write_lines,
)
from reasonseg_ros.data_engine.rules import Draft
from reasonseg_ros.data_engine.spending import Spending, spending
from reasonseg_ros.data_engine.splits import SHARES, split_of
from reasonseg_ros.data_engine.store import ReplyStore
from reasonseg_ros.data_engine.words import content
from reasonseg_ros.errors import InvalidInput, ServerError
from reasonseg_ros.faults import reason
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.images.run_lengths import rle_from_mask

MOST_AT_ONCE = 16
MOST_SILENT = 3
"""Consecutive pictures without a reply after which the run ends, because the server cannot be reached."""


@dataclass(frozen=True)
class EnginePlan:
    """The settings of a run.

    Attributes:
        at_once: number of pictures processed in parallel.
        most_pictures: maximum pictures with the same question. The order of its words does not count.
        shares, seed: shares and random seed of the splits; see `splits.split_of`.

    Raises InvalidInput for a value out of range.
    """

    wishes: Wishes = field(default_factory=Wishes)
    at_once: int = 4
    most_pictures: int = 1
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.at_once <= MOST_AT_ONCE:
            raise InvalidInput(f"{self.at_once} pictures at once; expected 1 to {MOST_AT_ONCE}")
        if self.most_pictures < 1:
            raise InvalidInput(f"{self.most_pictures} pictures a question; expected 1 or more")


@dataclass
class EngineResult:
    """The results of a run so far.

    Attributes:
        pictures, with_questions, left_out: numbers of pictures.
        unfinished: a line for each picture without a reply.
        asked: replies requested in this run.
        reused: replies of earlier runs that this run used.
        spent: tokens of all replies in the folder, including those of earlier runs.
        spent_before: the part of it that earlier runs spent.
    """

    pictures: int = 0
    with_questions: int = 0
    left_out: int = 0
    unfinished: list[str] = field(default_factory=list)
    questions: list[DataQuestion] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    asked: int = 0
    reused: int = 0
    spent: Spending = field(default_factory=lambda: spending(()))
    spent_before: Spending = field(default_factory=lambda: spending(()))

    def lines(self) -> list[str]:
        splits = Counter(one.split for one in self.questions)
        stated = ", ".join(f"{count} {name}" for name, count in splits.items())
        return [
            f"pictures: {self.pictures} read, {self.with_questions} with questions, {self.left_out} left out, "
            f"{len(self.unfinished)} without a reply",
            f"questions: {len(self.questions)} kept{f' ({stated})' if stated else ''}",
            f"rejected: {len(self.rejected)} lines in {REJECTED_NAME}",
            f"replies: {self.asked} requested, {self.reused} reused from earlier runs",
        ]


@dataclass(frozen=True, eq=False)
class _Outcome:
    picture: LoadedPicture | None
    found: Questioned | None
    problem: str = ""
    is_silent: bool = False


def run_engine(
    pictures: Iterable[SourcePicture],
    model: Model,
    plan: EnginePlan,
    folder: Path,
    on_done: Callable[[EngineResult], None] = lambda _: None,
) -> EngineResult:
    """Request questions about every picture and write the folder, without bags (see `bags_out`).

    An interrupted run also writes its finished pictures. Raises ServerError after MOST_SILENT consecutive pictures
    without a reply, and any error of the source.
    """
    (folder / PICTURES_NAME).mkdir(parents=True, exist_ok=True)
    result = EngineResult()
    known: Counter[frozenset[str]] = Counter()
    stopping = threading.Event()
    silent = 0
    with ReplyStore(folder) as store:
        result.spent_before = spending(store.all())
        asker = PictureAsker(model, store, plan.wishes, stopping.is_set)
        try:
            for name, outcome in _outcomes(pictures, asker, plan.at_once, stopping):
                _take(result, name, outcome, plan, folder, known)
                silent = silent + 1 if outcome.is_silent else 0
                result.spent = spending(store.all())
                result.asked, result.reused = len(store.all()) - result.spent_before.replies, store.reused
                on_done(result)
                if silent == MOST_SILENT:
                    raise ServerError(f"{silent} pictures in a row got no reply: {outcome.problem}")
        finally:
            result.spent = spending(store.all())
            write_lines(folder / QUESTIONS_NAME, result.questions)
            write_lines(folder / REJECTED_NAME, result.rejected)
    return result


def _outcomes(
    pictures: Iterable[SourcePicture], asker: PictureAsker, at_once: int, stopping: threading.Event
) -> Iterator[tuple[str, _Outcome]]:
    """The results in the order of the source. When the iteration ends, open requests are cancelled."""
    waiting: deque[tuple[str, Future[_Outcome]]] = deque()
    pool = ThreadPoolExecutor(at_once, "data engine")
    try:
        for picture in pictures:
            waiting.append((picture.name, pool.submit(_ask, picture, asker)))
            if len(waiting) > at_once:
                name, future = waiting.popleft()
                yield name, future.result()
        while waiting:
            name, future = waiting.popleft()
            yield name, future.result()
    finally:
        stopping.set()
        pool.shutdown(cancel_futures=True)


def _ask(source: SourcePicture, asker: PictureAsker) -> _Outcome:
    picture = None
    try:
        picture = source.load()
        return _Outcome(picture, asker.questions(source.name, picture))
    except Stopped:
        return _Outcome(picture, None, "stopped", is_silent=True)
    except NoReply as error:
        return _Outcome(picture, None, reason(error), is_silent=True)
    except Exception as error:  # a damaged foreign file fails its own picture only
        return _Outcome(None, None, reason(error))


def _take(
    result: EngineResult, name: str, outcome: _Outcome, plan: EnginePlan, folder: Path, known: Counter[frozenset[str]]
) -> None:
    """Add the result of a picture, and write its image if it has questions."""
    result.pictures += 1
    if outcome.is_silent:
        result.unfinished.append(f"{name}: {outcome.problem}")
        return
    picture, found = outcome.picture, outcome.found
    if picture is None or found is None:
        result.left_out += 1
        result.rejected.append(Rejected(name, "", (outcome.problem,)))
        return
    result.rejected += [Rejected(name, "", (problem,)) for problem in picture.problems]
    result.rejected += [Rejected(name, one.text, one.reasons) for one in found.refused]
    kept = []
    for draft in found.accepted:
        key = content(draft.question)
        if known[key] >= plan.most_pictures:
            why = f"{known[key]} other pictures are asked the same"
            result.rejected.append(Rejected(name, draft.question, (why,)))
        else:
            known[key] += 1
            kept.append(draft)
    if not kept:
        result.left_out += 1
        why = found.left_out or "no question of it is left"
        result.rejected.append(Rejected(name, "", (why,)))
        return
    result.with_questions += 1
    path = f"{PICTURES_NAME}/{picture.digest}.{'jpg' if picture.image.format == 'jpeg' else 'png'}"
    with whole_file(folder / path, "wb") as file:
        file.write(picture.image.data)
    split = split_of(picture.digest, plan.shares, plan.seed)
    taken = {one.question for one in result.questions if one.picture == path}
    for one in (_question(draft, name, picture, found, path, split) for draft in kept):
        if one.question in taken:
            result.rejected.append(Rejected(name, one.question, ("the same image is asked the same already",)))
        else:
            result.questions.append(one)


def _question(
    draft: Draft, name: str, picture: LoadedPicture, found: Questioned, path: str, split: str
) -> DataQuestion:
    objects = [found.objects[number - 1] for number in draft.numbers]
    targets = tuple(AnsweringObject(one.name, rle_from_mask(one.mask)) for one in objects)
    ignored = ignored_mask(objects, picture.unlisted)
    return DataQuestion(
        question_id(picture.digest, draft.question, draft.answer, targets), path, name, split, found.kind,
        draft.question, draft.answer, targets, None if ignored is None else rle_from_mask(ignored),
    )  # fmt: skip

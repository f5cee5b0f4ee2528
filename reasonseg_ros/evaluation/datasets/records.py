"""The common form of all data sets: pictures with the questions about them, loaded one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.pictures import EncodedImage
from reasonseg_ros.faults import reason
from reasonseg_ros.types import BoolMask


@dataclass(frozen=True, eq=False)
class LabelledQuestion:
    """One question about one picture, and the expected answer.

    Attributes:
        question_id: the same on every frame of a video; otherwise unique.
        mask: union of the targets, bool [H, W]; all False if nothing fits.
        ignore: pixels that are not scored, bool [H, W]; None for no such pixels.
        is_sentence: a whole sentence rather than a phrase.
        broken_shapes: one line for each annotated shape that could not be used for `mask`.
        boxes_xyxy, points_xy: one for each target; empty if single targets are not known.
    """

    question_id: str
    text: str
    mask: BoolMask
    ignore: BoolMask | None = None
    kind: str = ""
    thought: str = ""
    is_sentence: bool = False
    broken_shapes: tuple[str, ...] = ()
    boxes_xyxy: tuple[tuple[float, ...], ...] = ()
    points_xy: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """One image with its questions, and a line for each problem with it.

    `unlabelled` counts the questions of a video that have no mask on this frame; they are not scored there.
    """

    image: EncodedImage
    questions: tuple[LabelledQuestion, ...]
    problems: tuple[str, ...] = ()
    questions_left_out: int = 0
    shapes_left_out: int = 0
    unlabelled: int = 0


@dataclass(frozen=True)
class Item:
    """A still image, or a video with one entry in `loads` for each frame.

    A load reads the files and raises InvalidInput if the whole picture cannot be used.
    """

    name: str
    loads: tuple[Callable[[], Picture], ...]


QuestionMaker = tuple[str, Callable[[], LabelledQuestion]]
"""The question's name for messages, and a function that makes it or raises InvalidInput."""


def gather(image: EncodedImage, makers: Iterable[QuestionMaker], unlabelled: int = 0) -> Picture:
    """The picture with the questions that can be made and fit the image. The others become problems."""
    questions: list[LabelledQuestion] = []
    problems: list[str] = []
    left_out = shapes = 0
    for name, make in makers:
        try:
            question = make()
            _check(question, image)
        except Exception as error:  # a malformed annotation may raise anything; only its question is left out
            problems.append(f"{name}: {reason(error)}")
            left_out += 1
        else:
            problems += [f"{name}: {line}" for line in question.broken_shapes]
            shapes += len(question.broken_shapes)
            questions.append(question)
    return Picture(image, tuple(questions), tuple(problems), left_out, shapes, unlabelled)


def _check(question: LabelledQuestion, image: EncodedImage) -> None:
    if not question.text.strip():
        raise InvalidInput("the question is empty; write its text")
    for text in (question.text, question.question_id, question.thought, question.kind):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:  # half of a character, as "\\ud800" in JSON
            raise InvalidInput(f"{text!r:.60} is no valid text; save it again as UTF-8") from error
    for name, mask in (("mask", question.mask), ("ignore mask", question.ignore)):
        if mask is not None and mask.shape != image.size_wh[::-1]:
            width, height = image.size_wh
            sizes = f"{name} of {mask.shape[1]} x {mask.shape[0]} for an image of {width} x {height}"
            raise InvalidInput(f"{sizes}; use the image that was annotated")


def unusable(name: str, reason: str) -> Item:
    """A still that is known to be unusable before it is loaded; its load says why."""
    return Item(name, (partial(_refuse, reason),))


def _refuse(reason: str) -> Picture:
    raise InvalidInput(reason)


def limited(items: Sequence[Item], count: int | None) -> list[Item]:
    """The first `count` items, all of them for None. Raises InvalidInput for a count below 1."""
    if count is not None and count < 1:
        raise InvalidInput(f"--limit {count}; expected 1 at least")
    return list(items[:count])

"""The items of an evaluation: a question, its images, and the ground truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reasonseg_ros.plain_text import one_line, plain_text
from reasonseg_ros.types import BoolMask, FloatArray, Frame


@dataclass(frozen=True, eq=False)
class Truth:
    """The expected answer to a question.

    Attributes:
        mask: union of the targets, bool [H, W]; all False if nothing fits.
        ignore: pixels that are not scored, bool [H, W].
        boxes_xyxy: float32 [B, 4], one per target; B is 0 if boxes are not known.
        points_xy: float32 [P, 2], one inside each target; P may be 0.
    """

    mask: BoolMask
    ignore: BoolMask
    boxes_xyxy: FloatArray
    points_xy: FloatArray
    thought: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "thought", plain_text(self.thought))


@dataclass(frozen=True, eq=False)
class Sample:
    """One image of a clip, with its ground truth if that is known.

    Attributes:
        sample_id: unique in a run.
        load_frame: decodes the image; raises InvalidInput if it is damaged.
        is_asked: False for an image of a video that the method sees but that is not scored.
        image_digest: of the image's data, because several images may have one stamp.
    """

    sample_id: str
    stamp_ns: int
    load_frame: Callable[[], Frame]
    truth: Truth | None = None
    kind: str = ""
    split: str = ""
    is_sentence: bool = False
    is_asked: bool = True
    image_digest: str = ""

    def __post_init__(self) -> None:
        for name in ("sample_id", "kind", "split"):
            object.__setattr__(self, name, one_line(getattr(self, name)))


@dataclass(frozen=True)
class Unreadable:
    """A part of a bag that cannot be evaluated. `samples` is the number of lost questions that are known."""

    sample_id: str
    reason: str
    samples: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_id", one_line(self.sample_id))
        object.__setattr__(self, "reason", one_line(self.reason))


@dataclass(frozen=True, eq=False)
class Clip:
    """A question about the images of a video. A still is a video of one image.

    A part of a bag that cannot be evaluated is a clip too: without images, and with the reason in `unreadable`.

    Attributes:
        expression: the id of the question, the same on all its images; empty without ground truth.
        frames: in the order of the bag; the first and the last of a video are asked about.
        bag: name of its bag if a run has several.
    """

    question: str = ""
    frames: tuple[Sample, ...] = ()
    expression: str = ""
    bag: str = ""
    unreadable: tuple[Unreadable, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "question", plain_text(self.question))
        for name in ("expression", "bag"):
            object.__setattr__(self, name, one_line(getattr(self, name)))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The images that are asked about."""
        return tuple(frame for frame in self.frames if frame.is_asked)

    @property
    def is_video(self) -> bool:
        return len(self.frames) > 1

    @property
    def count(self) -> int:
        """Number of its samples, including those that cannot be evaluated."""
        return len(self.samples) + sum(lost.samples for lost in self.unreadable)


def unreadable(sample_id: str, reason: str, samples: int = 1) -> Clip:
    """A clip for a part of a bag that cannot be evaluated."""
    return Clip(unreadable=(Unreadable(sample_id, reason, samples),))

"""Expressions about videos: the samples of all frames of one, for a method that answers for the frames together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from reasonseg_ros.evaluation.samples import Sample, Unreadable


@dataclass(frozen=True, eq=False)
class VideoSample:
    """One question about several frames: `samples` are its frames with ground truth, in the order of the bag."""

    samples: tuple[Sample, ...]

    @property
    def expression(self) -> str:
        return self.samples[0].expression

    @property
    def question(self) -> str:
        return self.samples[0].question


def with_videos(
    read: Callable[[], Iterable[Sample | Unreadable]],
) -> Iterator[Sample | VideoSample | Unreadable]:
    """The samples that `read` gives, those of one expression together when its last frame has come.

    Everything is read twice, since nothing but the whole bag tells which frame is an expression's last. Of the images,
    which a sample holds as they lie in the bag, no more are kept than those of the expressions that are not complete.
    """
    left = Counter(item.expression for item in read() if isinstance(item, Sample))
    begun: dict[str, list[Sample]] = {}
    for item in read():
        if isinstance(item, Unreadable) or not item.expression:
            yield item
            continue
        frames = begun.setdefault(item.expression, [])
        frames.append(item)
        left[item.expression] -= 1
        if not left[item.expression]:
            del begun[item.expression]
            yield VideoSample(tuple(frames)) if len(frames) > 1 else item

"""Expressions about videos: the samples of all frames of one, for a method that answers for the frames together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from reasonseg_ros.evaluation.reading.samples import OnImage, Sample, Shown, Unreadable


@dataclass(frozen=True, eq=False)
class VideoSample:
    """One question about several frames.

    Attributes:
        frames: in the order of the bag, from the first with ground truth to the last; those between that have none are
            Shown, and not scored.
    """

    frames: tuple[Sample | Shown, ...]

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(frame for frame in self.frames if isinstance(frame, Sample))

    @property
    def expression(self) -> str:
        return self.samples[0].expression

    @property
    def question(self) -> str:
        return self.samples[0].question


def with_videos(
    read: Callable[[OnImage | None], Iterable[Sample | Unreadable]],
) -> Iterator[Sample | VideoSample | Unreadable]:
    """The samples that `read` gives, those of one expression together when its last frame has come.

    `read` hands all images to the function that it is given. Everything is read twice, since nothing but the whole bag
    tells which frame is an expression's last. Of the images, which are held as they lie in the bag, no more are kept
    than those of the expressions that are not complete.
    """
    left = Counter(item.expression for item in read(None) if isinstance(item, Sample))
    begun: dict[str, list[Sample | Shown]] = {}

    def on_image(image: Shown) -> None:
        for frames in begun.values():
            frames.append(image)

    for item in read(on_image):
        if isinstance(item, Unreadable) or not item.expression:
            yield item
            continue
        frames = begun.setdefault(item.expression, [])
        _add(frames, item)
        left[item.expression] -= 1
        if not left[item.expression]:
            del begun[item.expression]
            last = max(number for number, frame in enumerate(frames) if isinstance(frame, Sample))
            yield VideoSample(tuple(frames[: last + 1])) if len(frames) > 1 else item


def _add(frames: list[Sample | Shown], sample: Sample) -> None:
    """Put the sample in the place of its image, which has come before, except for the first."""
    for number in range(len(frames) - 1, -1, -1):
        if isinstance(frames[number], Shown) and frames[number].stamp_ns == sample.stamp_ns:
            frames[number] = sample
            return
    frames.append(sample)

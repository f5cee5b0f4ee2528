"""Collects the images of each expression about a video, for methods that answer for all of them together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from reasonseg_ros.evaluation.reading.clips import Clip, Sample, unreadable

GAP_IMAGES = 64
"""An expression is complete after this many images that it does not ask about: two seconds of a camera with 30 Hz."""
MOST_IMAGES = 2048
"""Most images from the first to the last of an expression. All are in memory together when it is answered."""


@dataclass(eq=False)
class _Waiting:
    """A clip that is complete when the image with the number `complete_at` has come."""

    clip: Clip
    frames: list[Sample] = field(default_factory=list)
    complete_at: int = 0

    def add(self, sample: Sample) -> None:
        """Replace the sample's image, which came before without a question. The first sample has no such image."""
        for number in range(len(self.frames) - 1, -1, -1):
            if not self.frames[number].is_asked and self.frames[number].stamp_ns == sample.stamp_ns:
                self.frames[number] = sample
                return
        self.frames.append(sample)

    def whole(self) -> Clip:
        """The clip up to its last image that is asked about."""
        asked = [number for number, frame in enumerate(self.frames) if frame.is_asked]
        return replace(self.clip, frames=tuple(self.frames[: asked[-1] + 1])) if asked else self.clip


class _Queue:
    """Clips in the order of their last images."""

    def __init__(self) -> None:
        self.images = 0
        self.ended: dict[str, str] = {}  # by expression: why no more images are added
        self._waiting: OrderedDict[object, _Waiting] = OrderedDict()

    def show(self, image: Sample) -> None:
        self.images += 1
        for waiting in self._waiting.values():
            if waiting.frames:
                waiting.frames.append(image)

    def put(self, clip: Clip) -> None:
        if not clip.expression or clip.unreadable:
            self._waiting[object()] = _Waiting(clip)
            return
        (sample,) = clip.samples
        if clip.expression in self.ended:
            self._waiting[object()] = _Waiting(unreadable(sample.sample_id, self.ended[clip.expression]))
            return
        waiting = self._waiting.setdefault(clip.expression, _Waiting(clip))
        waiting.add(sample)
        waiting.complete_at = self.images + GAP_IMAGES + 1
        self._waiting.move_to_end(clip.expression)
        if len(waiting.frames) > MOST_IMAGES:
            self._refuse(clip.expression, self._waiting.pop(clip.expression))

    def _refuse(self, expression: str, waiting: _Waiting) -> None:
        reason = f"its expression is about more than {MOST_IMAGES} images, which are too many to answer for together"
        self.ended[expression] = f"{reason}; cut the bag, or ask about single images (--method seg_zero)"
        for frame in waiting.frames:
            if frame.is_asked:
                self._waiting[object()] = _Waiting(unreadable(frame.sample_id, self.ended[expression]))

    def complete(self, everything: bool = False) -> Iterator[Clip]:
        """Remove and yield the clips at the front that are complete."""
        while self._waiting:
            key, waiting = next(iter(self._waiting.items()))
            if not everything and waiting.complete_at > self.images:
                return
            del self._waiting[key]
            if waiting.clip.expression:
                self.ended[waiting.clip.expression] = (
                    f"it is more than {GAP_IMAGES} images after the one before with its expression; label images that "
                    "are closer together, or ask about single images (--method seg_zero)"
                )
            yield waiting.whole()


def with_videos(clips: Iterable[Clip]) -> Iterator[Clip]:
    """Joins clips of one image each that have the same expression. Yields in the order of their last images.

    `clips` also hold every image of the bag, as a clip without a question, before the clips about it. Images between an
    expression's first and last become part of its clip. At most MOST_IMAGES + GAP_IMAGES undecoded images are in
    memory. A clip that comes after its expression is complete, or makes it too long, is unreadable.
    """
    queue = _Queue()
    for clip in clips:
        if clip.count or clip.unreadable:
            queue.put(clip)
        else:
            queue.show(clip.frames[0])
        yield from queue.complete()
    yield from queue.complete(everything=True)

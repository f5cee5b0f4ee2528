"""Passes clips through a method in stages that may run in parallel: encode, answer, judge."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reasonseg_ros.errors import InvalidInput, OutOfMemory
from reasonseg_ros.evaluation.reading.ahead import ahead, end
from reasonseg_ros.evaluation.reading.clips import Clip, Sample, Unreadable
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.judging import Scoring, judged, not_finite
from reasonseg_ros.faults import reason
from reasonseg_ros.methods.port import Method
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.types import Answer, Frame, Query, RgbImage, Segmentation, Status

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A clip with its images in memory.

    Attributes:
        frames: the clip's readable frames; none if there is no question about them.
        unreadable: the parts of the clip that cannot be evaluated.
        kept: ids of samples that an earlier run has evaluated.
        encoding_s: time spent on computing the image's features in advance.
    """

    clip: Clip
    frames: tuple[tuple[Sample, Frame], ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    kept: tuple[str, ...] = ()
    encoding_s: float = 0.0

    @property
    def samples(self) -> list[tuple[Sample, Frame]]:
        """The frames that are asked about."""
        return [(sample, frame) for sample, frame in self.frames if sample.is_asked]


@dataclass(frozen=True)
class Evaluated:
    """The results of a clip; `kept` and `unreadable` as in `Loaded`."""

    results: tuple[SampleResult, ...] = ()
    kept: tuple[str, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()


Asked = tuple[Loaded, Sequence[Segmentation]]
"""A clip with the answers on its frames."""


@dataclass(frozen=True)
class Pace:
    """How a run uses the machine.

    Attributes:
        batch_size: questions per call of the reasoner.
        most_ahead: clips that are loaded and encoded while the reasoner runs; 0: one after the other, no threads.
    """

    batch_size: int = 1
    most_ahead: int = 0


def load(clip: Clip) -> Loaded:
    """Decode the clip's images and list those that cannot be read. Without a readable sample, nothing is asked."""
    frames: list[tuple[Sample, Frame]] = []
    lost = list(clip.unreadable)
    for sample in clip.frames:
        try:
            frames.append((sample, _frame(sample)))
        except Exception as error:  # a damaged image makes a decoder raise nearly anything
            lost.append(_damaged(sample, error))
    asks = any(sample.is_asked for sample, _ in frames)
    return Loaded(clip, tuple(frames) if asks else (), tuple(lost))


def _damaged(sample: Sample, error: Exception) -> Unreadable:
    if sample.is_asked:
        return Unreadable(sample.sample_id, reason(error))
    # No question is lost.
    return Unreadable("", f"image of stamp {sample.stamp_ns} ns, between those of a video: {reason(error)}", 0)


def _frame(sample: Sample) -> Frame:
    frame = sample.load_frame()
    if sample.truth is not None and sample.truth.mask.shape != frame.rgb.shape[:2]:
        sizes = [f"{width} x {height}" for height, width in (sample.truth.mask.shape, frame.rgb.shape[:2])]
        raise InvalidInput(f"ground truth of {sizes[0]} for an image of {sizes[1]}; write masks in the image's size")
    return frame


def passed_by(item: Loaded) -> Evaluated:
    """The outcome of a clip without a question."""
    return Evaluated(kept=item.kept, unreadable=item.unreadable)


def answered(items: Iterable[Loaded], method: Method, scoring: Scoring, pace: Pace) -> Generator[Evaluated, None, None]:
    """Answer and judge `items`, in order.

    An error of the method is the status of its sample (`failed`, or `out_of_memory`), never the end of the run.

    With `pace.most_ahead`, image features are computed in advance. Then `method.segmenter` must cache those of
    `images_on_their_way` images, and its encode and decode are called by different threads.

    With threads, closing this generator, for example by Ctrl-C, cancels an answer in progress. Otherwise a server that
    hangs would hold its thread until the time limit. A cancelled answer is not judged. A batch is not cancelled.
    """
    most = pace.most_ahead
    closed = threading.Event()
    call = Call(cancelled=closed.is_set)
    if most:
        items = ahead(items, partial(_encoded, method.segmenter.encode), max(most, pace.batch_size))
    asked = ahead(groups(items, pace.batch_size), partial(_ask, method, pace.batch_size, call), min(most, 1))
    for group in ahead(asked, partial(_judge, method, scoring), min(most, 1), closed.set):
        yield from group


def images_on_their_way(pace: Pace) -> int:
    """The most images between encoding and judging: in the queues, and in the groups that the stages work on."""
    if not pace.most_ahead:
        return pace.batch_size
    return max(pace.most_ahead, pace.batch_size) + 4 * pace.batch_size + 1


def _encoded(encode: Callable[[RgbImage], object], item: Loaded) -> Loaded:
    if not item.frames or item.clip.is_video:
        return item
    start_s = time.perf_counter()
    try:
        encode(item.frames[0][1].rgb)
    except Exception:
        return item  # answering encodes it again and reports the error
    return replace(item, encoding_s=time.perf_counter() - start_s)


def groups(items: Iterable[Loaded], batch_size: int) -> Iterator[list[Loaded]]:
    """The items in order, in groups of at most `batch_size` questions about single images. A video ends a group."""
    group: list[Loaded] = []
    questions = 0
    try:
        for item in items:
            group.append(item)
            questions += bool(item.frames)
            if questions >= batch_size or batch_size == 1 or (item.frames and item.clip.is_video):
                yield group
                group, questions = [], 0
        if group:
            yield group
    finally:
        end(items)


def _ask(method: Method, batch_size: int, call: Call, group: Sequence[Loaded]) -> list[Asked]:
    stills = [item for item in group if item.frames and not item.clip.is_video]
    asks_together = batch_size > 1 and stills
    answers = iter(_batch(method, stills, call) if asks_together else [_alone(method, item, call) for item in stills])
    asked: list[Asked] = []
    for item in group:
        if not item.frames:
            asked.append((item, ()))
        elif item.clip.is_video:
            asked.append((item, _video(method, item, call)))
        else:
            asked.append((item, [next(answers)]))
    return asked


def _batch(method: Method, items: Sequence[Loaded], call: Call) -> list[Segmentation]:
    """Answers to several questions at once. If that raises, they are asked one by one, so only the bad one fails."""
    try:
        answers = method.answer_batch([item.frames[0][1] for item in items], [_query(item) for item in items])
        if len(answers) == len(items):
            return answers
        LOG.warning("%d answers to a batch of %d questions; they are asked one by one", len(answers), len(items))
    except Exception as error:
        LOG.warning("a batch of %d questions failed (%s); they are asked one by one", len(items), reason(error))
    return [_alone(method, item, call) for item in items]


def _alone(method: Method, item: Loaded, call: Call) -> Segmentation:
    ((_, frame),) = item.frames
    try:
        return method.answer(frame, _query(item), call)
    except Exception as error:
        return _failed(frame, _query(item), error)


def _video(method: Method, item: Loaded, call: Call) -> Sequence[Segmentation]:
    frames = tuple(frame for _, frame in item.frames)
    try:
        segmentations = method.answer_video(frames, _query(item), call)
        if len(segmentations) != len(frames):
            raise InvalidInput(f"{len(segmentations)} answers to {len(frames)} frames")
        return segmentations
    except Exception as error:
        return [_failed(frame, _query(item), error) for frame in frames]


def _failed(frame: Frame, query: Query, error: Exception) -> Segmentation:
    """The result for an answer that raised. A resumed run asks again for its status."""
    LOG.debug("question %r failed", query.query_id, exc_info=error)
    status = Status.OUT_OF_MEMORY if isinstance(error, (OutOfMemory, MemoryError)) else Status.FAILED
    return Segmentation(frame, query, Answer(status, error=reason(error)))


def _query(item: Loaded) -> Query:
    clip = item.clip
    return Query(clip.question, clip.expression if clip.is_video else clip.frames[0].sample_id)


def _judge(method: Method, scoring: Scoring, group: Sequence[Asked]) -> list[Evaluated]:
    return [_evaluated(item, segmentations, method, scoring) for item, segmentations in group]


def _evaluated(item: Loaded, segmentations: Sequence[Segmentation], method: Method, scoring: Scoring) -> Evaluated:
    """The outcome of a clip. A sample whose scoring raises counts as unreadable."""
    results: list[SampleResult] = []
    lost = list(item.unreadable)
    for (sample, _), segmentation in zip(item.frames, segmentations, strict=True):
        if not sample.is_asked:
            continue
        try:
            results.append(_result(item, sample, segmentation, method, scoring))
        except Exception as error:
            LOG.debug("sample %r could not be judged", sample.sample_id, exc_info=error)
            lost.append(Unreadable(sample.sample_id, f"it could not be scored: {reason(error)}"))
    return Evaluated(tuple(results), item.kept, tuple(lost))


def _result(item: Loaded, sample: Sample, segmentation: Segmentation, method: Method, scoring: Scoring) -> SampleResult:
    result = judged(item.clip, sample, segmentation, method, scoring, item.encoding_s)
    if place := not_finite(result.to_json()):
        damage = InvalidInput(f"{place} is not finite; the checkpoint, or the precision it runs in, is at fault")
        failed = _failed(segmentation.frame, segmentation.query, damage)
        return judged(item.clip, sample, failed, None, scoring)
    return result

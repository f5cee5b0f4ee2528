"""The way of a sample through a method, in stages that may run side by side: encode, answer, judge."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reasonseg_ros.errors import InvalidInput, OutOfMemory
from reasonseg_ros.evaluation.reading.ahead import ahead, end
from reasonseg_ros.evaluation.reading.samples import Sample, Unreadable
from reasonseg_ros.evaluation.reading.videos import VideoSample
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.judging import Scoring, judged, not_finite
from reasonseg_ros.faults import reason
from reasonseg_ros.methods.port import Method
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.types import Answer, Frame, Query, RgbImage, Segmentation, Status

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A question with its frame in memory, or, of a video, with its frames.

    Attributes:
        samples: those that can be read; of a video, of its frames with ground truth.
        frames: of a video all that can be read, otherwise the one.
        places: index of each sample's frame.
        video: of which `samples` are.
        encoding_s: time that was spent on the frame's features ahead.
    """

    samples: tuple[Sample, ...]
    frames: tuple[Frame, ...]
    places: tuple[int, ...] = (0,)
    video: VideoSample | None = None
    encoding_s: float = 0.0

    @property
    def pairs(self) -> list[tuple[Sample, Frame]]:
        """Each sample with its own frame."""
        return [(sample, self.frames[place]) for sample, place in zip(self.samples, self.places, strict=True)]


@dataclass(frozen=True)
class Kept:
    """Samples whose results an earlier run has left."""

    sample_ids: tuple[str, ...]


PipelineItem = Loaded | Kept | Unreadable
PipelineResult = SampleResult | Kept | Unreadable
Asked = tuple[PipelineItem, Sequence[Segmentation]]


@dataclass(frozen=True)
class Pace:
    """How a run uses the machine.

    Attributes:
        batch_size: questions that the reasoner is asked at once.
        most_ahead: samples that are loaded and encoded while the reasoner runs; 0: one after the other, no threads.
    """

    batch_size: int = 1
    most_ahead: int = 0


def samples_of(item: Sample | VideoSample) -> tuple[Sample, ...]:
    return item.samples if isinstance(item, VideoSample) else (item,)


def load(item: Sample | VideoSample) -> Iterator[Loaded | Unreadable]:
    """What of a sample or a video cannot be read, then what can, with the frames decoded."""
    samples: list[tuple[Sample, int]] = []
    frames: list[Frame] = []
    for one in item.frames if isinstance(item, VideoSample) else (item,):
        try:
            frames.append(_frame(one) if isinstance(one, Sample) else one.load_frame())
        except Exception as error:  # a damaged image makes a decoder raise nearly anything
            if isinstance(one, Sample):
                yield Unreadable(one.sample_id, reason(error))
            else:  # it costs no sample
                yield Unreadable("", f"image of stamp {one.stamp_ns} ns, between those of a video: {reason(error)}", 0)
        else:
            if isinstance(one, Sample):
                samples.append((one, len(frames) - 1))
    if samples:
        read, places = zip(*samples, strict=True)
        yield Loaded(read, tuple(frames), places, item if isinstance(item, VideoSample) else None)


def _frame(sample: Sample) -> Frame:
    frame = sample.load_frame()
    if sample.truth is not None and sample.truth.mask.shape != frame.rgb.shape[:2]:
        sizes = [f"{width} x {height}" for height, width in (sample.truth.mask.shape, frame.rgb.shape[:2])]
        raise InvalidInput(f"ground truth of {sizes[0]} for an image of {sizes[1]}; write masks in the image's size")
    return frame


def answered(
    items: Iterable[PipelineItem], method: Method, scoring: Scoring, pace: Pace
) -> Generator[PipelineResult, None, None]:
    """Answer and judge `items`, in order.

    An error of the method is the status of its sample (`failed`, or `out_of_memory`), never the end of the run.

    With `pace.most_ahead` the segmenter's features are made ahead, so `method.segmenter` must keep those of as many
    images as are on their way (`images_on_their_way`); and its encode and decode are called by different threads.

    With threads, an answer in progress is cancelled when this generator is closed, for example by Ctrl-C. Otherwise a
    server that hangs would hold its thread until the time limit. A cancelled answer is not judged. A batch is not
    cancelled.
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
    """How many images at most lie between encoding and judging: in three groups, before them, and in hand."""
    if not pace.most_ahead:
        return pace.batch_size
    return max(pace.most_ahead, pace.batch_size) + 4 * pace.batch_size + 1


def _encoded(encode: Callable[[RgbImage], object], item: PipelineItem) -> PipelineItem:
    if not isinstance(item, Loaded) or item.video:
        return item
    start_s = time.perf_counter()
    try:
        encode(item.frames[0].rgb)
    except Exception:
        return item  # it is encoded again with its answer, which then says so
    return replace(item, encoding_s=time.perf_counter() - start_s)


def groups(items: Iterable[PipelineItem], batch_size: int) -> Iterator[list[PipelineItem]]:
    """The items in order, in groups with at most `batch_size` questions about one image; a video ends a group."""
    group: list[PipelineItem] = []
    questions = 0
    try:
        for item in items:
            group.append(item)
            questions += isinstance(item, Loaded)
            if questions >= batch_size or batch_size == 1 or (isinstance(item, Loaded) and item.video):
                yield group
                group, questions = [], 0
        if group:
            yield group
    finally:
        end(items)


def _ask(method: Method, batch_size: int, call: Call, group: Sequence[PipelineItem]) -> list[Asked]:
    loaded = [item for item in group if isinstance(item, Loaded)]
    single = [item for item in loaded if not item.video]
    asks_together = batch_size > 1 and single
    answers = iter(_batch(method, single, call) if asks_together else [_alone(method, item, call) for item in single])
    asked: list[Asked] = []
    for item in group:
        if not isinstance(item, Loaded):
            asked.append((item, ()))
        elif item.video:
            asked.append((item, _video(method, item, Query(item.video.question, item.video.expression), call)))
        else:
            asked.append((item, [next(answers)]))
    return asked


def _batch(method: Method, items: Sequence[Loaded], call: Call) -> list[Segmentation]:
    """Answers to several questions at once; where that raises, one by one, so that only the bad one fails."""
    try:
        queries = [_query(item.samples[0]) for item in items]
        answers = method.answer_batch([item.frames[0] for item in items], queries)
        if len(answers) == len(items):
            return answers
        LOG.warning("%d answers to a batch of %d questions; they are asked one by one", len(answers), len(items))
    except Exception as error:
        LOG.warning("a batch of %d questions failed (%s); they are asked one by one", len(items), reason(error))
    return [_alone(method, item, call) for item in items]


def _alone(method: Method, item: Loaded, call: Call) -> Segmentation:
    query = _query(item.samples[0])
    try:
        return method.answer(item.frames[0], query, call)
    except Exception as error:
        return _failed(item.frames[0], query, error)


def _video(method: Method, item: Loaded, query: Query, call: Call) -> Sequence[Segmentation]:
    try:
        segmentations = method.answer_video(item.frames, query, call)
        if len(segmentations) != len(item.frames):
            raise InvalidInput(f"{len(segmentations)} answers to {len(item.frames)} frames")
        return segmentations
    except Exception as error:
        return [_failed(frame, query, error) for frame in item.frames]


def _failed(frame: Frame, query: Query, error: Exception) -> Segmentation:
    """What stands for an answer that never came. Its status is one of those that a resumed run asks again."""
    LOG.debug("question %r failed", query.query_id, exc_info=error)
    status = Status.OUT_OF_MEMORY if isinstance(error, (OutOfMemory, MemoryError)) else Status.FAILED
    return Segmentation(frame, query, Answer(status, error=reason(error)))


def _query(sample: Sample) -> Query:
    return Query(sample.question, sample.sample_id)


def _judge(method: Method, scoring: Scoring, group: Sequence[Asked]) -> list[PipelineResult]:
    outcomes: list[PipelineResult] = []
    for item, segmentations in group:
        if not isinstance(item, Loaded):
            outcomes.append(item)
            continue
        for sample, place in zip(item.samples, item.places, strict=True):
            outcomes.append(_outcome(sample, segmentations[place], method, scoring, item.encoding_s))
    return outcomes


def _outcome(
    sample: Sample, segmentation: Segmentation, method: Method, scoring: Scoring, encoding_s: float
) -> SampleResult | Unreadable:
    """The sample's result, or, where its ground truth makes a score raise, that it cannot be read."""
    try:
        result = judged(sample, segmentation, method, scoring, encoding_s)
        if place := not_finite(result.to_json()):
            damage = InvalidInput(f"{place} is not finite; the checkpoint, or the precision it runs in, is at fault")
            result = judged(sample, _failed(segmentation.frame, segmentation.query, damage), None, scoring)
        return result
    except Exception as error:
        LOG.debug("sample %r could not be judged", sample.sample_id, exc_info=error)
        return Unreadable(sample.sample_id, f"it could not be scored: {reason(error)}")

"""A target that is tracked for many images by the worker, as in the node: with scripted and with embedded models."""

from __future__ import annotations

import queue
import time
from statistics import median

import numpy as np

from benchmarks.cost.curve import Curve
from benchmarks.samples import shipped_questions
from reasonseg_ros.config import config_from
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.live.questions import Outcome, Question
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.worker import Worker
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.methods.port import Method
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.ros.process.memory import resident_mb, trim_regularly
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.types import Frame, Mode, Query, RgbImage, Status

MARKS = (100, 200, 500, 1000, 2000, 5000, 10_000)
PERIOD_NS = 100_000_000
LIMIT_S = 120.0
SHIFTS = (*range(0, 40, 4), *range(40, 0, -4))
SAID = '<think>The square.</think><answer>[{"bbox_2d": [100, 80, 140, 120], "point_2d": [120, 100]}]</answer>'


def scripted(frames: int) -> Curve:
    """The cost of the worker itself, with scripted models."""
    rgb = np.full((240, 320, 3), 40, np.uint8)
    rgb[80:120, 100:140] = 200, 60, 30
    config = config_from({"method": "rev_seg"})
    method = RevSeg(SegZero(ScriptedReasoner([SAID]), ScriptedSegmenter("box"), config), ScriptedTracker)
    return _followed("frames followed, scripted", method, rgb, "the square", frames)


def embedded(frames: int) -> Curve:
    """With SAM2's memory, which is the node's default."""
    sample = shipped_questions()[0]
    return _followed(
        "frames followed, embedded", load_method(config_from({})), sample.load_frame().rgb, sample.question, frames
    )


def _followed(name: str, method: Method, rgb: RgbImage, question: str, frames: int) -> Curve:
    """One target in an image that moves back and forth by 4 pixels. Each image waits for the previous answer."""
    trim_regularly()  # as the node does
    video = [np.roll(rgb, shift, axis=1) for shift in SHIFTS]
    outcomes: queue.Queue[Outcome] = queue.Queue()
    worker = Worker(method, method.make_tracker)
    worker.start()
    points, cpu_ms, lost = [], [], 0
    try:
        _show(worker, video, 0)
        worker.submit(Question(Query(question, "q1", Mode.TRACK), outcomes.put))
        _until(outcomes, 0)
        for number in range(1, frames + 1):
            cpu_s = time.process_time()
            _show(worker, video, number)
            outcome = _until(outcomes, number)
            cpu_ms.append(1e3 * (time.process_time() - cpu_s))
            lost += outcome.answer.status is not Status.OK
            if number in MARKS:
                points.append((float(number), median(cpu_ms), resident_mb() or 0.0))
                cpu_ms.clear()
    finally:
        worker.stop()
    note = (
        f"{rgb.shape[1]} x {rgb.shape[0]}, one target, {lost} images without it; the median of the images since the "
        "point before"
    )
    series = "CPU time an image, ms", "resident memory, MB"
    return Curve(name, "images", series, tuple(points), note, logarithmic=True)


def _show(worker: Worker, video: list[RgbImage], number: int) -> None:
    frame = Frame(video[number % len(video)].copy(), (number + 1) * PERIOD_NS, "camera")
    worker.show(Arrival(frame.stamp_ns, frame.rgb.nbytes, lambda: frame))


def _until(outcomes: queue.Queue[Outcome], number: int) -> Outcome:
    """The outcome about this image. Raises ReasonSegError if the question has ended, or if there is none in time."""
    while True:
        try:
            outcome = outcomes.get(timeout=LIMIT_S)
        except queue.Empty:
            raise ReasonSegError(f"no masks of image {number} within {LIMIT_S:g} s") from None
        if outcome.is_last:
            raise ReasonSegError(f"tracking ended at image {number}: {outcome.answer.status} {outcome.answer.error}")
        if outcome.frame is not None and outcome.frame.stamp_ns >= (number + 1) * PERIOD_NS:
            return outcome

"""The cost of one answer: number of objects, size of the image, length of the thought."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice

import cv2
import numpy as np

from benchmarks.cost.curve import Curve, median_ms
from benchmarks.samples import shipped_questions
from reasonseg_ros.config import config_from
from reasonseg_ros.methods.loading import load_method
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.reasoner.onnx.reasoner import OnnxReasoner
from reasonseg_ros.types import Frame, Grounding, Query

OBJECTS = (1, 2, 4, 8, 12, 16)
SIZES_WH = ((640, 480), (1280, 720), (1920, 1080), (2688, 1520), (3264, 2448))
TOKENS = (10, 50, 100, 200, 400, 800)


def objects(repetitions: int) -> Curve:
    """From boxes to finished masks, on an image that is already encoded."""
    method = load_method(config_from({}))
    sample = shipped_questions()[0]
    rgb = cv2.resize(sample.load_frame().rgb, (1280, 720))
    frame = Frame(rgb)
    boxes = _boxes(max(OBJECTS), (1280, 720))
    points = []
    for count in OBJECTS:
        groundings = [Grounding(box_xyxy=box) for box in islice(cycle(boxes), count)]
        points.append((float(count), median_ms(lambda given=groundings: method.prompt(frame, given), repetitions)))
    note = "720p, embedded segmenter, masks refined; the image is encoded once before"
    return Curve("objects", "objects", ("boxes to masks, ms",), tuple(points), note)


def _boxes(count: int, size_wh: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Boxes of random places and sizes, always the same ones."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 0.8, (count, 2)) * size_wh
    return [(float(x), float(y), float(x + 0.18 * size_wh[0]), float(y + 0.18 * size_wh[1])) for x, y in corners]


def image_size(repetitions: int) -> Curve:
    """A question about a new image, from 0.3 to 8 megapixels."""
    method = load_method(config_from({}))
    points = []
    for size_wh in SIZES_WH:
        scenes = [(cv2.resize(one.load_frame().rgb, size_wh), one.question) for one in shipped_questions()[:4]]
        times = [
            median_ms(lambda rgb=rgb, text=text: method.answer(Frame(rgb.copy()), Query(text)), repetitions)
            for rgb, text in scenes
        ]
        points.append((size_wh[0] * size_wh[1] / 1e6, float(np.mean(times))))
    note = "a new image each time, embedded models; both models see a smaller copy, masks have the image's size"
    return Curve("image size", "megapixels", ("question to masks, ms",), tuple(points), note)


def thought_length(repetitions: int) -> Curve:
    """Lets the model continue after the end of its answer, so that the length can be chosen."""
    reasoner = load_reasoner(replace(config_from({}).reasoner, kept_frames=0))
    assert isinstance(reasoner, OnnxReasoner)
    reasoner.manifest = replace(reasoner.manifest, end_tokens=(-1,))
    sample = shipped_questions()[0]
    frame = sample.load_frame()
    points = []
    for count in TOKENS:
        total_ms = median_ms(lambda n=count: reasoner.say_about(frame, sample.question, Limits(n, 600.0)), repetitions)
        points.append((float(count), total_ms, total_ms / count))
    note = "image and prompt included; the embedded reasoner, kept from ending its answer"
    return Curve("thought length", "tokens", ("answer, ms", "ms a token"), tuple(points), note, logarithmic=True)

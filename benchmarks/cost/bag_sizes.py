"""Bags of 100 to 100,000 samples, evaluated with scripted models, so that only the evaluation is measured."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from benchmarks.cost.curve import Curve
from benchmarks.results import ROOT
from reasonseg_ros import bags
from reasonseg_ros.bags.topics import COMPRESSED_IMAGE_TOPIC, FRAME_ID, GROUND_TRUTH_TOPIC, QUERY_TOPIC, START_NS
from reasonseg_ros.types import Query

SIZES = (100, 1000, 10_000, 100_000)
SIZE_WH = 64, 48
PERIOD_NS = 100_000_000


def bag_size(most: int) -> Curve:
    points = []
    folder = Path(tempfile.mkdtemp(prefix="reasonseg_bags_"))
    try:
        for samples in (size for size in SIZES if size <= most):
            bag, out = folder / f"bag{samples}", folder / f"run{samples}"
            _write(bag, samples)
            start_s, cpu_s = perf_counter(), _children_cpu_s()
            command = [sys.executable, "-m", "benchmarks.cost.scripted_evaluation", str(bag), str(out)]
            done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
            seconds = perf_counter() - start_s
            cpu_ms = 1e3 * (_children_cpu_s() - cpu_s) / samples
            points.append((float(samples), seconds, cpu_ms, float(done.stdout.split()[-1])))
            shutil.rmtree(bag)
            shutil.rmtree(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    series = "evaluation, s", "CPU time a sample, ms", "peak memory, MB"
    note = "one question an image of 64 x 48 px; scripted models; with the start and the pictures, without the report"
    return Curve("bag size", "samples", series, tuple(points), note, logarithmic=True)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write(path: Path, samples: int) -> None:
    """A rectangle in each image; each question has other words."""
    rng = np.random.default_rng(2)
    width, height = SIZE_WH
    with bags.BagWriter(path) as bag:
        for number in range(samples):
            stamp_ns = START_NS + number * PERIOD_NS
            rgb = np.full((height, width, 3), 40, np.uint8)
            x, y = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 20))
            rgb[y : y + 16, x : x + 16] = rng.integers(90, 255, 3)
            mask = np.zeros((height, width), bool)
            mask[y : y + 16, x : x + 16] = True
            data = cv2.imencode(".png", rgb)[1].tobytes()
            query = Query(f"the rectangle number {number}", str(number))
            image = bags.compressed_image_message(data, "png", stamp_ns, FRAME_ID)
            truth = bags.ground_truth_message(query, mask, stamp_ns, FRAME_ID, kind="rectangle")
            bag.write(COMPRESSED_IMAGE_TOPIC, image, stamp_ns)
            bag.write(QUERY_TOPIC, bags.query_message(query), stamp_ns + 1)
            bag.write(GROUND_TRUTH_TOPIC, truth, stamp_ns + 1)

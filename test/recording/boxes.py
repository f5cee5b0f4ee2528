"""Black boxes of a scripted method, and a robot whose answers are recorded."""

from functools import cache
from pathlib import Path

import numpy as np

from reasonseg_ros.config import Config, config_from
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.recording.conditions import conditions_of, settings_of
from reasonseg_ros.recording.content import PROMPT, QUESTION, BlackBox
from reasonseg_ros.recording.recorder import Recorder, RecordHealth
from reasonseg_ros.recording.writing import black_box_bytes
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.types import Frame, Grounding, Query
from test.live.robot import Robot

WIDTH, HEIGHT = 64, 48
TEXT = '<think>It is there.</think><answer>[{"bbox_2d": [8, 8, 24, 24], "point_2d": [16, 16]}]</answer>'


def noisy_frame(seed=0, stamp_ns=10**18):
    rgb = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Frame(rgb, stamp_ns, "camera")


def scripted_method(text=TEXT, config=None, shape="box"):
    return SegZero(ScriptedReasoner([text]), ScriptedSegmenter(shape), config or Config())


@cache
def conditions():
    return conditions_of(Config())


def black_box(query_id="q1", frame=None, text=TEXT, **more):
    frame = frame or noisy_frame()
    config = Config()
    segmentation = scripted_method(text).answer(frame, Query("where is it?", query_id))
    values = {
        "settings": settings_of(config), "conditions": conditions(), "node": "/reasonseg",
        "recorded": "2026-11-28T00:00:00.000Z", **more,
    }  # fmt: skip
    status = str(segmentation.status)
    return BlackBox(segmentation.query, QUESTION, (frame,), segmentation, status, segmentation.answer.error, **values)


def prompted_box():
    frame, prompt = noisy_frame(3), Grounding(np.array([4, 4, 20, 20], np.float32))
    found = scripted_method().prompt(frame, (prompt,))
    return BlackBox(Query("", "p1"), PROMPT, (frame,), found, "ok", prompts=(prompt,))


def write_box(path: Path, box: BlackBox, around=()):
    path.write_bytes(black_box_bytes(box, around))
    return path


class RecordedRobot(Robot):
    """A robot with a recorder, as the node has one."""

    def __init__(self, folder, on_problem=lambda _: None, **record):
        super().__init__({}, {}, {})
        values = {f"record.{name}": value for name, value in {"answers": "failed", "around_s": 0.0, **record}.items()}
        settings = self.worker.method.settings
        settings.change(config_from({"query.frame_wait_s": 1.0, "stream.buffer_hz": 1000.0, **values}))
        self.health = RecordHealth()
        self.recorder = Recorder(settings, folder, "/reasonseg", self.worker.buffer, self.health, on_problem)
        self.recorder.start()

    def take(self, outcome):
        self.recorder.take(outcome)
        super().take(outcome)

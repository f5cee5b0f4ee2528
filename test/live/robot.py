"""A worker with scripted models, its camera and its reported outcomes."""

import threading
import time
from functools import partial

from reasonseg_ros.config import CameraConfig, Config, QueryConfig, StreamConfig
from reasonseg_ros.geometry import mask_box
from reasonseg_ros.live.questions import Question
from reasonseg_ros.live.stream.frame_buffer import Arrival
from reasonseg_ros.live.worker import Worker
from reasonseg_ros.methods.rev_seg import RevSeg
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import WAIT
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.rounds import Keyframe
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter, ScriptedTracker
from reasonseg_ros.types import Answer, Grounding, Mode, Query, Status
from test.live.following.test_propagation import RED

LIMIT_S = 60.0
"""Long enough for a busy machine. It only ends a test that would hang."""


class SquareReasoner(Reasoner):
    """Points at the red square. `pause` is called with every frame during the answer."""

    name = "square"
    frames = 4

    def __init__(self):
        self.stamps_ns = []
        self.pause = lambda frame: None

    def answer(self, frame, text, call=WAIT):
        self.stamps_ns.append(frame.stamp_ns)
        self.pause(frame)
        if call.cancelled():
            return Answer(Status.CANCELLED, error="cancelled")
        box = mask_box((frame.rgb == RED).all(axis=-1))
        return Answer(Status.NO_TARGET) if box is None else Answer(Status.OK, groundings=(Grounding(box),))

    def choose(self, frames, text, call=WAIT):
        """The first frame in which the square is visible."""
        self.shown_ns = [frame.stamp_ns for frame in frames]
        seen = [index for index, frame in enumerate(frames) if (frame.rgb == RED).all(axis=-1).any()]
        return Keyframe(Status.OK, seen[0], "the square") if seen else Keyframe(Status.NO_TARGET)


class Robot:
    """A worker, its camera and its reported outcomes."""

    def __init__(self, query, camera, stream):
        self.reasoner = SquareReasoner()
        self.outcomes = []
        self.came = threading.Condition()
        config = Config(
            camera=CameraConfig(**camera),
            query=QueryConfig(**{"frame_wait_s": 1.0, **query}),
            stream=StreamConfig(**{"buffer_hz": 1000.0, **stream}),
        )
        segmenter = ScriptedSegmenter("box")
        make_tracker = partial(ScriptedTracker, lost_after_s=0.25)
        method = RevSeg(SegZero(self.reasoner, segmenter, config), make_tracker)
        self.worker = Worker(method, make_tracker)
        self.worker.start()

    def show(self, *frames):
        for frame in frames:
            self.worker.show(Arrival(frame.stamp_ns, frame.rgb.nbytes, lambda frame=frame: frame))

    def show_all(self, *frames):
        """Show the frames one by one, each after the masks of the previous one were reported."""
        for frame in frames:
            count = len(self.outcomes)
            self.show(frame)
            self.wait(count + 1)

    def take(self, outcome):
        with self.came:
            self.outcomes.append(outcome)
            self.came.notify_all()

    def ask(self, mode=Mode.ONCE, frames=0, query_id="q", **more):
        question = Question(Query("what is red?", query_id, mode, frames), self.take, **more)
        self.worker.submit(question)
        return question

    def wait(self, count):
        with self.came:
            assert self.came.wait_for(lambda: len(self.outcomes) >= count, LIMIT_S), self.outcomes
        return self.outcomes[count - 1]

    def reported(self):
        return [(str(o.answer.status), o.frame.stamp_ns // 100_000_000, o.is_last) for o in self.outcomes]


def left_px(outcome):
    return int(outcome.segmentation.regions[0].box_xyxy[0]) - 2


def is_idle(worker):
    load = worker.load()
    return not (load.running or load.waiting or load.standing or load.tracked)


def until(done):
    deadline_s = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)

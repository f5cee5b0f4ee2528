"""The node in a separate process: its overhead, its start, and the growth of its memory. Needs rclpy."""

from __future__ import annotations

import compileall
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from scipy.stats import theilslopes
from sensor_msgs.msg import Image

from benchmarks.results import ROOT, Row
from benchmarks.samples import shipped_questions
from reasonseg_ros import msg
from reasonseg_ros.demo.processes import Child, use_private_ros
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.types import RgbImage

PACKAGE = ROOT / "reasonseg_ros"
START_LIMIT_S = 180.0
ANSWER_LIMIT_S = 60.0
WARMING_IMAGES = 30


class Camera(Node):
    """Publishes images, asks, and listens to the node, which runs in another process."""

    def __init__(self, node: Child) -> None:
        super().__init__("benchmark")
        self.node = node
        self.values: dict[str, str] = {}
        self.answers: list[tuple[float, msg.Segmentation]] = []
        self.images = self.create_publisher(Image, "image", qos_profile_sensor_data)
        self.questions = self.create_publisher(msg.Query, "reasonseg/query", 10)
        self.create_subscription(msg.Segmentation, "reasonseg/segmentation", self._on_answer, 10)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._change_state = self.create_client(ChangeState, "reasonseg/change_state")
        # As in a robot's node. rclpy.spin_once would add and remove the node every time.
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def _on_answer(self, message: msg.Segmentation) -> None:
        self.answers.append((self.now_s(), message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # Camera and depth count images by the same name; node and known picture both have a state.
        seen = (status for status in message.status if not status.name.endswith(("depth", "known picture")))
        self.values = {pair.key: pair.value for status in seen for pair in status.values}

    def destroy_node(self) -> None:
        self._executor.shutdown()
        super().destroy_node()

    def now_s(self) -> float:
        return self.get_clock().now().nanoseconds / 1e9

    def wait(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Raises ReasonSegError if the node ends, or if `done` is not true within the limit."""
        deadline_s = time.monotonic() + limit_s
        while not done():
            self.node.check()
            if time.monotonic() > deadline_s:
                raise ReasonSegError(f"the node {what} not within {limit_s:g} s:\n{self.node.last_lines()}")
            self._executor.spin_once(timeout_sec=0.05)

    def rest_until(self, deadline_s: float) -> None:
        """Serve what comes; also if it is late already."""
        self._executor.spin_once(timeout_sec=0)
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def show(self, image: Image) -> float:
        """Publish an image stamped with the current time. Returns the stamp."""
        now = self.get_clock().now()
        image.header.stamp = now.to_msg()
        self.images.publish(image)
        return now.nanoseconds / 1e9

    def stream(self, image: Image) -> None:
        """Publish for a second like a camera. Publishing is slower until all shared memory was written once."""
        for _ in range(WARMING_IMAGES):
            self.show(image)
            self.rest_until(time.monotonic() + 1 / WARMING_IMAGES)

    def change(self, transition: int) -> None:
        self._change_state.wait_for_service(ANSWER_LIMIT_S)
        future = self._change_state.call_async(ChangeState.Request(transition=Transition(id=transition)))
        self.wait(future.done, ANSWER_LIMIT_S, "changed its state")

    def forget_images(self) -> None:
        """After this call, a question waits for the next image."""
        self.change(Transition.TRANSITION_DEACTIVATE)
        self.change(Transition.TRANSITION_ACTIVATE)


@contextmanager
def process_and_camera(name: str, command: Sequence[str], log: Path) -> Iterator[tuple[Camera, float]]:
    """The camera, beside a process of this Python, and the start of that process in seconds of the steady clock."""
    use_private_ros()
    rclpy.init()
    start_s = time.monotonic()
    process = Child(name, [sys.executable, *command], log)
    camera = None
    try:
        camera = Camera(process)
        yield camera, start_s
    finally:
        process.end()
        if camera is not None:
            camera.destroy_node()
        rclpy.try_shutdown()


@contextmanager
def node_and_camera(log: Path, parameters: Sequence[str] = ()) -> Iterator[tuple[Camera, float]]:
    """The active node, and the seconds from its start until it reported this."""
    options = [part for text in ("diagnostics_period_s:=0.1", *parameters) for part in ("-p", text)]
    command = ["-m", "reasonseg_ros.ros.node", "--ros-args", *options]
    with process_and_camera("node", command, log) as (camera, start_s):
        camera.wait(lambda: camera.values.get("state") == "active", START_LIMIT_S, "became active")
        ready_s = time.monotonic() - start_s
        camera.wait(lambda: camera.questions.get_subscription_count() > 0, ANSWER_LIMIT_S, "took questions")
        camera.wait(lambda: camera.images.get_subscription_count() > 0, ANSWER_LIMIT_S, "took images")
        yield camera, ready_s


def questions_and_images(size_wh: tuple[int, int]) -> list[tuple[str, Image]]:
    """Questions of the shipped bag that have a target, with rgb8 images of that size."""
    return [(s.question, image_message(cv2.resize(s.load_frame().rgb, size_wh))) for s in shipped_questions()]


def image_message(rgb: RgbImage) -> Image:
    height, width = rgb.shape[:2]
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = "camera"
    message.data = rgb.tobytes()
    return message


def transport_s(log: Path, repetitions: int) -> float:
    """Median time from an image's stamp to the answer of a bare rclpy process, which returns the header."""
    images = cycle(image for _, image in questions_and_images((1280, 720)))
    times_s = []
    with process_and_camera("echo", ["-m", "benchmarks.table.echo"], log) as (camera, _):
        camera.wait(lambda: camera.images.get_subscription_count() > 0, ANSWER_LIMIT_S, "took images")
        camera.stream(next(images))
        for _ in range(repetitions):
            camera.rest_until(time.monotonic() + 0.1)
            count, stamp_s = len(camera.answers), camera.show(next(images))
            camera.wait(lambda count=count: len(camera.answers) > count, ANSWER_LIMIT_S, "answered")
            times_s.append(camera.answers[-1][0] - stamp_s)
    return median(times_s)


WARM_UPS, MOST_STRAYS = 3, 5


def overhead_row(folder: Path, repetitions: int, parameters: Sequence[str] = ()) -> Row:
    """A question waits at the node, then one image is published. Time from stamp to masks, minus the models' time."""
    overheads_s: list[float] = []
    pipelines_s: list[float] = []
    strays = 0
    scenes = cycle(questions_and_images((1280, 720)))
    # An unsure answer would come with a second candidate, which takes longer.
    with node_and_camera(folder / "overhead.log", ["answer.min_confidence:=0.0", *parameters]) as (camera, _):
        camera.stream(next(scenes)[1])
        while len(overheads_s) < WARM_UPS + repetitions:
            question, image = next(scenes)
            camera.forget_images()
            camera.questions.publish(msg.Query(text=question))
            camera.rest_until(time.monotonic() + 0.1)
            count, stamp_s = len(camera.answers), camera.show(image)
            camera.wait(lambda count=count: len(camera.answers) > count, ANSWER_LIMIT_S, "answered")
            came_s, answer = camera.answers[-1]
            if answer.header.stamp != image.header.stamp:  # an earlier image that was still on its way
                strays += 1
                if strays > MOST_STRAYS:
                    raise ReasonSegError(f"{strays} answers are about an image from before; the machine is too busy")
                continue
            if answer.status != msg.Segmentation.OK:
                raise ReasonSegError(f"the node answered {answer.status} {answer.error} to {question!r}")
            pipelines_s.append(answer.reasoning_s + answer.segmenting_s)
            overheads_s.append(came_s - stamp_s - pipelines_s[-1] - answer.catching_up_s)
    overheads_s, pipelines_s = overheads_s[WARM_UPS:], pipelines_s[WARM_UPS:]
    transport_ms = 1e3 * transport_s(folder / "echo.log", repetitions)
    spread = [round(1e3 * float(np.percentile(overheads_s, share)), 2) for share in (5, 50, 95)]
    share = 100 * median(overheads_s) / median(pipelines_s)
    return Row(
        "node above a bare rclpy echo: image stamp to published masks, less the models' time, 720p",
        "two processes, shared memory, rclpy",
        value=1e3 * median(overheads_s) - transport_ms, unit="ms", aim=1.5,
        note=f"{1e3 * median(overheads_s):.1f} ms in all, {share:.1f} % of the pipeline's "
        f"{1e3 * median(pipelines_s):.0f} ms; 5 % and 95 %: "
        f"{spread[0]} and {spread[2]} ms; from the message's stamp until the answer has reached the other process; "
        f"{transport_ms:.1f} ms are what the same image takes to a bare rclpy process and its header back, and are not "
        "counted",
        details={"overhead_ms_p5_p50_p95": spread, "share_of_pipeline_percent": share, "transport_ms": transport_ms,
                 "pipeline_ms_median": 1e3 * median(pipelines_s), "answers": len(overheads_s)},
    )  # fmt: skip


def start_rows(folder: Path, repetitions: int, parameters: Sequence[str] = ()) -> list[Row]:
    """Start-up time by the node's log, and as seen by another process, which has to discover the node first."""
    ready_s, seen_s = [], []
    log = folder / "start.log"
    # As an installed package; with PYTHONDONTWRITEBYTECODE a checkout is compiled again at each start, for 0.2 s.
    compileall.compile_dir(PACKAGE, quiet=1)
    for _ in range(repetitions):
        start_s = time.time()
        with node_and_camera(log, parameters) as (_, seen):
            seen_s.append(seen)
            ready_s.append(models_loaded_s(log) - start_s)
    note = "with the files in the system's cache, and compiled Python files"
    ready_row = Row(
        "start of the node to ready, embedded models", "process started until its log says that it has its models",
        value=median(ready_s), unit="s", aim=1.0, note=f"{note}; it activates in the same callback",
        details={"seconds": ready_s},
    )  # fmt: skip
    seen_row = Row(
        "start of the node until another process has seen it active", "process started until its diagnostics say so",
        value=median(seen_s), unit="s",
        note=f"{note}; {sum(seen > 2 + ready for seen, ready in zip(seen_s, ready_s, strict=True))} of {repetitions} "
        "times Fast DDS missed an announcement, which it repeats after 3 s",
        details={"seconds": seen_s},
    )  # fmt: skip
    return [ready_row, seen_row]


def models_loaded_s(log: Path) -> float:
    """Time when the models were loaded, seconds of the system clock. Raises ReasonSegError if it is not in the log."""
    text = log.read_text(errors="replace")
    found = re.search(r"^\[INFO\] \[([0-9.]+)\] \[reasonseg\]: reasoner ", text, re.MULTILINE)
    if found is None:
        raise ReasonSegError(f"{log} does not say when the models were loaded")
    return float(found[1])


def memory_rows(
    folder: Path, frames: int, questions: int, limit_s: float, *, models: str = "the embedded models",
    rate_hz: float = 30.0, parameters: Sequence[str] = (),
) -> list[Row]:  # fmt: skip
    """Resident memory and its slope while images arrive and one question follows the other.

    `models` describes the models of the `parameters` in words.
    """
    scenes = questions_and_images((320, 240))
    samples: list[tuple[int, float]] = []
    with node_and_camera(folder / "memory.log", parameters) as (camera, _):
        ready_mb = resident_mb(camera.node.process.pid)
        asked = shown = 0
        start_s = time.monotonic()
        while (shown < frames or len(camera.answers) < questions) and time.monotonic() - start_s < limit_s:
            question, image = scenes[asked // 10 % len(scenes)]
            camera.show(image)
            shown += 1
            if len(camera.answers) == asked < questions:
                camera.questions.publish(msg.Query(text=question))
                asked += 1
            camera.rest_until(start_s + shown / rate_hz)
            if shown % 50 == 0 and "received" in camera.values:
                camera.node.check()
                samples.append((int(camera.values["received"]), resident_mb(camera.node.process.pid)))
        answers = camera.answers
    if len({received for received, _ in samples[len(samples) // 10 :]}) < 2:
        raise ReasonSegError(f"{len(samples)} samples of the node's memory in {limit_s:g} s; more time is needed")
    ok = sum(answer.status == msg.Segmentation.OK for _, answer in answers)
    seen, memory_mb = np.array(samples[len(samples) // 10 :]).T  # the first tenth warms up
    slope = theilslopes(memory_mb, seen / 1000)
    growth = Row(
        "growth of the node's memory per 1,000 frames", f"{seen[-1]:.0f} frames, 320 x 240, {len(answers)} questions",
        value=float(slope.slope), unit="MB", aim=1.0,
        note=f"wanted are {frames} frames and {questions} questions within {limit_s:.0f} s; {ok} of the answers marked "
        f"something; {models}, answers propagated to the newest frame; resident memory "
        f"{memory_mb[0]:.0f} MB after the first tenth, {memory_mb[-1]:.0f} MB at the end; Theil-Sen slope, 95 %: "
        f"{slope.low_slope:.2f} to {slope.high_slope:.2f}",
        details={"frames": int(seen[-1]), "answers": len(answers), "frames_and_mb": samples},
    )  # fmt: skip
    resident = (
        Row(f"resident memory of the node, {what}", models, value=value_mb, unit="MB", aim=aim)
        for what, value_mb, aim in (
            ("ready", ready_mb, 300.0),
            (f"after {len(answers)} questions", float(memory_mb[-1]), 400.0),
        )
    )
    return [*resident, growth]


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

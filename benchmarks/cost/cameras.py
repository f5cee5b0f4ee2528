"""Several nodes, each with its own camera, that share one reasoner behind a server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median

from benchmarks.cost.curve import Curve
from benchmarks.results import ROOT
from benchmarks.table.node_rows import ANSWER_LIMIT_S, node_and_camera, questions_and_images
from reasonseg_ros import msg

CAMERAS = (1, 2, 3, 4)


def cameras(questions: int) -> Curve:
    points = []
    for count in CAMERAS:
        with _server() as url, tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.cost.cameras", url, str(questions)]
            logs = [Path(folder, f"robot{number}.log") for number in range(count)]
            robots = [subprocess.Popen([*command, str(log)], cwd=ROOT, stdout=subprocess.PIPE) for log in logs]
            found = [json.loads(robot.communicate()[0]) for robot in robots]
        rate_hz = sum(1 / mean(times_s) for times_s in found)
        points.append((float(count), 1e3 * median(time_s for times_s in found for time_s in times_s), rate_hz))
    note = f"{questions} questions a camera, in turn; the embedded reasoner behind a server, one answer at a time"
    series = "question to masks, ms", "answers a second, all cameras"
    return Curve("cameras", "cameras and nodes", series, tuple(points), note)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cost.reasoner_server"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def robot(url: str, questions: int, log: Path) -> list[float]:
    """Seconds from each question to its answer, for one node."""
    parameters = ["reasoner.backend:=server", f"reasoner.server_url:={url}"]
    scenes = questions_and_images((640, 480))
    times_s = []
    with node_and_camera(log, parameters) as (camera, _):
        camera.stream(scenes[0][1])
        for number in range(-2, questions):
            text, image = scenes[number % len(scenes)]
            camera.show(image)
            camera.rest_until(0)
            camera.answers.clear()
            asked_s = camera.now_s()
            camera.questions.publish(msg.Query(text=text))
            camera.wait(lambda: bool(camera.answers), ANSWER_LIMIT_S, "answered")
            came_s, answer = camera.answers[0]
            if answer.status not in ("ok", "no_target", "unsure"):
                raise SystemExit(f"{answer.status}: {answer.error}")
            if number >= 0:
                times_s.append(came_s - asked_s)
    return times_s


if __name__ == "__main__":
    print(json.dumps(robot(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))

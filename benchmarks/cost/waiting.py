"""Questions that wait in a node's queue."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from benchmarks.cost.curve import Curve
from benchmarks.table.node_rows import ANSWER_LIMIT_S, node_and_camera, questions_and_images
from reasonseg_ros import msg
from reasonseg_ros.errors import ReasonSegError

COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)

GOOD = ("ok", "no_target", "unsure")


def questions_waiting(folder: Path) -> Curve:
    """All questions are asked at once about one image. Times until the first and until the last answer."""
    scenes = questions_and_images((1280, 720))
    image, points = scenes[0][1], []
    with node_and_camera(folder / "waiting.log", ["query.queue_size:=200", "query.image_max_age_s:=0.0"]) as (
        camera,
        _,
    ):
        camera.stream(image)
        for count in (1, *COUNTS):  # the first warms up
            camera.answers.clear()
            start_s = perf_counter()
            for number in range(count):
                camera.questions.publish(msg.Query(text=scenes[number % len(scenes)][0], query_id=f"{count}-{number}"))
            camera.wait(lambda: bool(camera.answers), ANSWER_LIMIT_S, "answered")
            first_ms = 1e3 * (perf_counter() - start_s)
            camera.wait(lambda most=count: len(camera.answers) == most, ANSWER_LIMIT_S, "answered all")
            total_ms = 1e3 * (perf_counter() - start_s)
            answers = (answer for _, answer in camera.answers)
            if wrong := [f"{one.status}: {one.error}" for one in answers if one.status not in GOOD]:
                raise ReasonSegError(f"{count} questions at once: {', '.join(wrong)}")
            points.append((float(count), first_ms, total_ms, total_ms / count))
    series = "first answer, ms", "last answer, ms", "ms a question"
    note = "720p, embedded models, all about one image, so it is encoded once"
    return Curve("questions waiting", "questions at once", series, tuple(points[1:]), note, logarithmic=True)

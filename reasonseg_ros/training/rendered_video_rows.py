"""Training rows from rendered tabletop videos."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import write_image
from reasonseg_ros.tabletop.videos import temporal
from reasonseg_ros.training.reasoner.video_validation import draw_video_questions
from reasonseg_ros.training.rendered.videos import StoredVideo, VideoFiles
from reasonseg_ros.training.rows import TRUTH_PX, Box, write_rows
from reasonseg_ros.training.video_rows import VideoRow


def write_video_rows(videos: Path, out: Path, count: int, phrasing: str, seed: int) -> None:
    """Write `count` rows about rendered videos, at most one per video, and their frames.

    Raises InvalidInput if the videos do not allow that many questions.
    """
    temporal.check_phrasing(phrasing)
    questions = draw_video_questions(VideoFiles(videos), count, phrasing, seed)
    if len(questions) < count:
        raise InvalidInput(f"the videos of {videos} allow only {len(questions)} of {count} questions; render more")
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for question in questions:
        frames = [f"images/{question.video.seed}-{number}.png" for number in range(1, len(question.video.scenes) + 1)]
        for path, scene in zip(frames, question.video.scenes, strict=True):
            write_image(out / path, np.ascontiguousarray(scene.rgb))
        boxes = _boxes(question.video, question.target)
        rows.append(VideoRow(str(question.video.seed), tuple(frames), question.text, boxes))
    random.Random(seed).shuffle(rows)
    write_rows(out, rows)


def _boxes(video: StoredVideo, target: int) -> tuple[Box | None, ...]:
    """The target's inclusive box in each frame, pixels of the squashed image; None where it is not clearly visible."""
    seen = {sighting.frame for sighting in temporal.sightings(video, target)} if target else set()  # type: ignore[arg-type]
    boxes: list[Box | None] = []
    for frame, scene in enumerate(video.scenes):
        if frame not in seen:
            boxes.append(None)
            continue
        height, width = scene.rgb.shape[:2]
        x1, y1, x2, y2 = next(o.box_xyxy for o in scene.objects if o.instance_id == target)
        x_scale, y_scale = TRUTH_PX / width, TRUTH_PX / height
        boxes.append((x1 * x_scale, y1 * y_scale, (x2 - 1) * x_scale, (y2 - 1) * y_scale))
    return tuple(boxes)

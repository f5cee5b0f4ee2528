"""A whole evaluation: runs every sample of a bag through the method that the node runs, scores it and stores it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from reasonseg_ros.evaluation.pipeline import Evaluated, Loaded, Pace, answered, load
from reasonseg_ros.evaluation.reading.clips import Clip, Unreadable
from reasonseg_ros.evaluation.report.run_page import write_report
from reasonseg_ros.evaluation.result_lines import ResultLines, write_results
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.run_folder import LINES, write_json
from reasonseg_ros.evaluation.scoring.judging import Scoring, picture_name
from reasonseg_ros.evaluation.scoring.summary import NO_KIND, Row, row, summary
from reasonseg_ros.faults import naming
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.methods.port import Method
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.types import RgbImage

PICTURE_SIDE_PX = 400
PICTURE_QUALITY = 75
"""JPEG quality of the images in the report, whose longer side is PICTURE_SIDE_PX. Both keep the report small."""

AnswerItems = Callable[[Iterable[Loaded]], Generator[Evaluated, None, None]]
"""Answers and judges all clips, in order."""


@dataclass
class Run:
    """The state of a run in progress, with the results of earlier runs. `scored` of them have ground truth."""

    rows: list[Row] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    iou_sum: float = 0.0
    scored: int = 0

    def keep(self, result: SampleResult) -> None:
        self.ids.append(result.sample_id)
        self.rows.append(row(result))
        if result.score is not None:
            self.iou_sum += result.score.iou
            self.scored += 1

    @property
    def failed(self) -> int:
        return sum(item.samples for item in self.unreadable)

    @property
    def samples(self) -> int:
        return len(self.rows) + self.failed


def evaluate(
    clips: Iterable[Clip],
    method: Method,
    out: Path,
    scoring: Scoring,
    limit: int = 0,
    on_progress: Callable[[Run], None] | None = None,
    pace: Pace | None = None,
) -> Run:
    """Answer and score `clips`, up to `limit` samples (0: all). Results are appended to results.jsonl in order.

    Samples that are in the file already are not asked again. Call `finish` afterwards to write summary and report.
    """
    answer = partial(answered, method=method, scoring=scoring, pace=pace or Pace())
    return collect(clips, answer, out, limit, on_progress)


def collect(
    clips: Iterable[Clip],
    answer: AnswerItems,
    out: Path,
    limit: int = 0,
    on_progress: Callable[[Run], None] | None = None,
) -> Run:
    """As `evaluate`, with clips that are answered by `answer`, which must keep their order."""
    run = Run()
    with ResultLines(out / LINES) as lines:
        done = {sample_id for sample_id in lines if not lines.read(sample_id).asked_again}
        items = _items(_first_of(clips, limit), done, out)
        with closing(answer(items)) as outcomes:
            for outcome in outcomes:
                run.unreadable += outcome.unreadable
                for sample_id in outcome.kept:
                    run.keep(lines.read(sample_id))
                for result in outcome.results:
                    lines.append(result)
                    run.keep(result)
                if on_progress:
                    on_progress(run)
    return run


def _first_of(clips: Iterable[Clip], limit: int) -> Iterator[Clip]:
    """The clips up to the one that completes `limit` samples; 0: all."""
    count = 0
    for clip in clips:
        yield clip
        count += clip.count
        if limit and count >= limit:
            return


def _items(clips: Iterable[Clip], done: Collection[str], out: Path) -> Iterator[Loaded]:
    """The clips. For those that are not done, images are loaded and the pictures of the report are written."""
    for clip in clips:
        ids = tuple(sample.sample_id for sample in clip.samples)
        # All frames of a video are asked about together, so one that is missing asks about all of them again.
        if all(sample_id in done for sample_id in ids):
            yield Loaded(clip, unreadable=clip.unreadable, kept=ids)
            continue
        loaded = load(clip)
        for sample, frame in loaded.samples:
            _write_picture(out / picture_name(clip, sample), frame.rgb)
        yield loaded


def _write_picture(path: Path, rgb: RgbImage) -> None:
    if path.exists():
        return
    factor = min(1.0, PICTURE_SIDE_PX / max(rgb.shape[:2]))
    width, height = (max(1, round(factor * length)) for length in rgb.shape[1::-1])  # also of an image of 1 x 2000
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY])[1]
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, "wb") as file:
        file.write(data.tobytes())


def finish(
    out: Path,
    run: Run,
    settings: dict[str, Any],
    command: str,
    notes: Sequence[str] = (),
    consistency: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write results.json, summary.json and report.html; returns the summary.

    `notes` are assumptions behind the results, for example which clock was used. `consistency` is the result of
    `run_consistency`, if it was measured.
    """
    noted: dict[str, Any] = {"notes": [one_line(note) for note in notes]}
    if consistency is not None:
        noted["consistency"] = consistency
    unreadable = [{"sample_id": u.sample_id, "reason": u.reason, "samples": u.samples} for u in run.unreadable]
    lost = {NO_KIND: run.failed} if run.failed else {}
    found = {**summary(run.rows, lost), "unreadable": unreadable, **noted}
    described = {**settings, "command": command, "unreadable": unreadable, **noted}
    with ResultLines(out / LINES) as lines:
        write_results(out / "results.json", described, _in_order(lines, run.ids))
        write_json(out / "summary.json", found)
        write_report(out / "report.html", described, found, _in_order(lines, _worst_first(run)), out)
    return found


def _worst_first(run: Run) -> list[str]:
    """Ids by rising IoU; those without ground truth come last."""
    ious = {i: 2.0 if row.score is None else row.score.iou for i, row in zip(run.ids, run.rows, strict=True)}
    return sorted(run.ids, key=lambda sample_id: (ious[sample_id], sample_id))


def _in_order(lines: ResultLines, ids: list[str]) -> Iterator[SampleResult]:
    return (lines.read(sample_id) for sample_id in ids)

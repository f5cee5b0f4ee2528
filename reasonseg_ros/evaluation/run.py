"""An evaluation from start to end: every sample of a bag through the method that the node runs, scored and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.failures import classify
from reasonseg_ros.evaluation.metrics import score_sample
from reasonseg_ros.evaluation.report import write_report
from reasonseg_ros.evaluation.results import (
    ResultLines,
    SampleResult,
    grounding_values,
    region_values,
    rle_from_mask,
    write_results,
)
from reasonseg_ros.evaluation.samples import Sample, Truth, Unreadable
from reasonseg_ros.evaluation.stand_ins import from_mask
from reasonseg_ros.evaluation.summary import UNKNOWN_KIND, Row, row, summary
from reasonseg_ros.evaluation.videos import VideoSample
from reasonseg_ros.types import Frame, Grounding, Query, RgbImage, Segmentation, Status

PICTURE_SIDE_PX = 400
PICTURE_QUALITY = 75
"""Longer side and JPEG quality of the images kept for the report, so that it stays light."""

ASKED_AGAIN = (Status.UNAVAILABLE, Status.OUT_OF_MEMORY, Status.FAILED)
"""A resumed run asks again where the machine, not the model, was at fault."""


class Method(Protocol):
    def answer(self, frame: Frame, query: Query) -> Segmentation: ...

    def prompt(self, frame: Frame, groundings: Sequence[Grounding]) -> Segmentation: ...


class VideoMethod(Method, Protocol):
    def answer_video(self, frames: Sequence[Frame], query: Query) -> Sequence[Segmentation]:
        """One segmentation a frame, in their order, each with its groundings in the pixels of its own frame.

        Where nothing of the target is seen in a frame its status is `no_target`. Time spent on all frames together is
        told once, with any of them.
        """


@dataclass(frozen=True)
class Scoring:
    """How samples are scored. `counterfactual`: also prompt the segmenter with the truth, to tell whose loss it is."""

    protocol: str = "lisa"
    counterfactual: bool = True


@dataclass
class Run:
    """The state of a run while it goes. `done` counts results of this and of earlier runs."""

    rows: list[Row] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(item.samples for item in self.unreadable)

    @property
    def samples(self) -> int:
        return len(self.rows) + self.failed


def begin(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Make the folder of a run and note its settings. Raises InvalidInput where it holds another run."""
    path = out / "settings.json"
    if not resume:
        if path.exists():
            raise InvalidInput(f"{out} holds a run already; add --resume to finish it, or choose another --out")
        out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        _check_same(json.loads(path.read_text(encoding="utf-8")), settings, out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        _write_json(path, settings)


def _check_same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    now = json.loads(json.dumps(now))
    for name in before.keys() | now.keys():
        if before.get(name) != now.get(name):
            told = f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
            raise InvalidInput(f"{out} was begun with other settings: {told}; use the same, or another --out")


def evaluate(
    samples: Iterable[Sample | VideoSample | Unreadable],
    method: Method,
    out: Path,
    scoring: Scoring,
    limit: int = 0,
    on_progress: Callable[[Run], None] | None = None,
) -> Run:
    """Answer and score `samples` in turn, the first `limit` of them (0: all); results are appended to results.jsonl.

    Samples that the file holds already are not asked again. Videos need a VideoMethod. Then results.json and
    summary.json can be written.
    """
    run = Run()
    with ResultLines(out / "results.jsonl") as lines:
        for item in samples:
            if isinstance(item, Unreadable):
                run.unreadable.append(item)
            elif isinstance(item, VideoSample):
                _take_video(item, cast(VideoMethod, method), out, scoring, lines, run)
            else:
                _take(item, method, out, scoring, lines, run)
            if on_progress:
                on_progress(run)
            if limit and run.samples >= limit:
                break
    return run


def _take(sample: Sample, method: Method, out: Path, scoring: Scoring, lines: ResultLines, run: Run) -> None:
    known = lines.read(sample.sample_id) if sample.sample_id in lines else None
    if known is None or known.status in ASKED_AGAIN:
        try:
            known = evaluate_sample(sample, method, out, scoring)
        except InvalidInput as error:
            run.unreadable.append(Unreadable(sample.sample_id, str(error)))
            return
        lines.append(known)
    _keep(known, run)


def _take_video(
    video: VideoSample, method: VideoMethod, out: Path, scoring: Scoring, lines: ResultLines, run: Run
) -> None:
    """All frames are asked about together, so one that is missing in the file asks about all of them again."""
    known = [lines.read(sample.sample_id) for sample in video.samples if sample.sample_id in lines]
    if len(known) < len(video.samples) or any(result.status in ASKED_AGAIN for result in known):
        known = []
        for result in evaluate_video(video, method, out, scoring):
            if isinstance(result, Unreadable):
                run.unreadable.append(result)
            else:
                lines.append(result)
                known.append(result)
    for result in known:
        _keep(result, run)


def _keep(result: SampleResult, run: Run) -> None:
    run.ids.append(result.sample_id)
    run.rows.append(row(result))


def evaluate_sample(sample: Sample, method: Method, out: Path, scoring: Scoring) -> SampleResult:
    """Ask `method` about one sample and score its answer. Raises InvalidInput where the sample is damaged."""
    frame = _load(sample)
    segmentation = method.answer(frame, Query(sample.question, sample.sample_id))
    return _result(sample, frame, segmentation, method, out, scoring)


def evaluate_video(
    video: VideoSample, method: VideoMethod, out: Path, scoring: Scoring
) -> list[SampleResult | Unreadable]:
    """Ask `method` once about the frames of a video that can be read, and score every frame."""
    results: list[SampleResult | Unreadable] = []
    loaded: list[tuple[Sample, Frame]] = []
    for sample in video.samples:
        try:
            loaded.append((sample, _load(sample)))
        except InvalidInput as error:
            results.append(Unreadable(sample.sample_id, str(error)))
    if loaded:
        answers = method.answer_video([frame for _, frame in loaded], Query(video.question, video.expression))
        for (sample, frame), segmentation in zip(loaded, answers, strict=True):
            results.append(_result(sample, frame, segmentation, method, out, scoring))
    return results


def _load(sample: Sample) -> Frame:
    frame = sample.load_frame()
    if sample.truth is not None and sample.truth.mask.shape != frame.rgb.shape[:2]:
        sizes = [f"{width} x {height}" for height, width in (sample.truth.mask.shape, frame.rgb.shape[:2])]
        raise InvalidInput(f"ground truth of {sizes[0]} for an image of {sizes[1]}; write masks in the image's size")
    return frame


def _result(
    sample: Sample, frame: Frame, segmentation: Segmentation, method: Method, out: Path, scoring: Scoring
) -> SampleResult:
    """The answer with its scores; the picture is written and, for the counterfactual, the true boxes segmented."""
    answer = segmentation.answer
    result = SampleResult(
        sample_id=sample.sample_id,
        question=sample.question,
        kind=sample.kind,
        split=sample.split,
        is_sentence=sample.is_sentence,
        stamp_ns=sample.stamp_ns,
        size_wh=frame.size_wh,
        image=f"images/{sample.stamp_ns}.jpg",
        status=str(answer.status),
        thought=answer.thought,
        raw_text=answer.raw_text,
        error=answer.error,
        dialect=answer.dialect,
        tokens=answer.tokens,
        groundings=[grounding_values(grounding) for grounding in answer.groundings],
        regions=[region_values(region) for region in segmentation.regions],
        mask=rle_from_mask(segmentation.mask) if answer.status.is_answer else None,
        seconds={stage: round(seconds, 4) for stage, seconds in segmentation.seconds.items()},
        expression=sample.expression,
    )
    picture = out / result.image
    if not picture.exists():
        _write_picture(picture, frame.rgb)
    if sample.truth is None:
        return result
    result = judged(result, segmentation, sample.truth, scoring.protocol)
    if not scoring.counterfactual or not sample.truth.mask.any():
        return result
    ideal = method.prompt(frame, true_groundings(sample.truth)).mask
    ideal_iou = score_sample(ideal, sample.truth.mask, sample.truth.ignore, scoring.protocol).iou
    return replace(result, ideal_iou=round(ideal_iou, 6))


def judged(result: SampleResult, segmentation: Segmentation, truth: Truth, protocol: str) -> SampleResult:
    """The result with its scores and its type of failure."""
    answer = segmentation.answer
    mask = segmentation.mask if answer.status.is_answer else None
    score = score_sample(mask, truth.mask, truth.ignore, protocol, answer.groundings, truth.boxes_xyxy)
    failure = classify(mask, truth.mask, truth.ignore, answer.groundings)
    return replace(
        result,
        target=rle_from_mask(truth.mask),
        ignore=rle_from_mask(truth.ignore) if truth.ignore.any() else None,
        target_boxes_xyxy=np.round(truth.boxes_xyxy.astype(float), 2).tolist(),
        target_thought=truth.thought,
        score=score,
        failure=str(failure.type),
        failure_tags=list(failure.tags),
    )


def true_groundings(truth: Truth) -> tuple[Grounding, ...]:
    """What a perfect reasoner would have said. Where boxes are not known, the mask's own with its innermost point."""
    if len(truth.boxes_xyxy) and len(truth.points_xy) in (0, len(truth.boxes_xyxy)):
        points = truth.points_xy if len(truth.points_xy) else [()] * len(truth.boxes_xyxy)
        return tuple(Grounding(box, np.array(point)) for box, point in zip(truth.boxes_xyxy, points, strict=True))
    return from_mask(truth.mask)


def _write_picture(path: Path, rgb: RgbImage) -> None:
    factor = min(1.0, PICTURE_SIDE_PX / max(rgb.shape[:2]))
    small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY])[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def finish(out: Path, run: Run, settings: dict[str, Any], command: str) -> dict[str, Any]:
    """Write results.json, summary.json and report.html; the summary is returned."""
    unreadable = [{"sample_id": u.sample_id, "reason": u.reason, "samples": u.samples} for u in run.unreadable]
    lost = {UNKNOWN_KIND: run.failed} if run.failed else {}
    found = {**summary(run.rows, lost), "unreadable": unreadable}
    described = {**settings, "command": command, "unreadable": unreadable}
    with ResultLines(out / "results.jsonl") as lines:
        write_results(out / "results.json", described, _in_order(lines, run.ids))
        _write_json(out / "summary.json", found)
        write_report(out / "report.html", described, found, _in_order(lines, _worst_first(run)), out)
    return found


def _worst_first(run: Run) -> list[str]:
    """Ids by IoU; at the end those without ground truth."""
    ious = {i: 2.0 if row.score is None else row.score.iou for i, row in zip(run.ids, run.rows, strict=True)}
    return sorted(run.ids, key=lambda sample_id: (ious[sample_id], sample_id))


def _in_order(lines: ResultLines, ids: list[str]) -> Iterator[SampleResult]:
    return (lines.read(sample_id) for sample_id in ids)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)

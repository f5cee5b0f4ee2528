"""What an evaluation keeps of each sample, as plain values that become JSON, and the file they are appended to.

One line a sample, on the disk before the next sample begins; so a run that is killed goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.failures import Measurement
from reasonseg_ros.evaluation.scoring.metrics import SampleScore
from reasonseg_ros.faults import naming
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.images.run_lengths import Rle
from reasonseg_ros.types import Grounding, Region, Status

ASKED_AGAIN = (Status.UNAVAILABLE, Status.OUT_OF_MEMORY, Status.FAILED)
"""A resumed run asks again where the machine, not the model's answer, was at fault."""

LONGEST_LINE_BYTES = 2**28
"""Of a results file. More is damage, and must not ask for all memory."""


@dataclass(frozen=True)
class SampleResult:
    """One question, evaluated. Boxes are x1, y1, x2, y2 and points x, y, in pixels of the image.

    Attributes:
        expression: the same for every frame of one question about a video.
        image: file with the scaled image, relative to the run's folder.
        groundings: `box_xyxy`, `points_xy`, `point_labels`, `label`, `score` of each.
        regions: the segmenter's own judgement of each mask: `mask_score`, `box_iou`, `points_inside`, `holes`,
            `fragments`, and `box_xyxy`.
        mask: union of the regions; None if the question was not answered.
        target, ignore, target_boxes_xyxy: the ground truth; None without one.
        score: None without ground truth.
        failure: type of failure (evaluation/failures.py), with `failure_tags`; empty without ground truth.
        measured: what its rules looked at, for other thresholds; None without ground truth.
        ideal_iou: IoU with the segmenter prompted with the true boxes and points; None if that was not tried, or
            failed, which `ideal_error` tells.
        seconds: time in each stage.
        entropy_nats: of the thought; None if the reasoner cannot tell.
        confidence: calibrated probability of the right target; None without a calibration.
    """

    sample_id: str
    question: str
    kind: str
    split: str
    is_sentence: bool
    stamp_ns: int
    size_wh: tuple[int, int]
    image: str
    status: str
    thought: str
    raw_text: str
    error: str
    dialect: str
    tokens: int
    groundings: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    mask: Rle | None
    seconds: dict[str, float]
    target: Rle | None = None
    ignore: Rle | None = None
    target_boxes_xyxy: list[list[float]] = field(default_factory=list)
    target_thought: str = ""
    score: SampleScore | None = None
    failure: str = ""
    failure_tags: list[str] = field(default_factory=list)
    ideal_iou: float | None = None
    expression: str = ""
    measured: Measurement | None = None
    ideal_error: str = ""
    entropy_nats: float | None = None
    confidence: float | None = None

    @property
    def answered(self) -> bool:
        return Status(self.status).has_mask

    @property
    def asked_again(self) -> bool:
        """Whether a resumed run asks this question again."""
        return Status(self.status) in ASKED_AGAIN or bool(self.ideal_error)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SampleResult:
        """Raises InvalidInput if keys are missing or unknown, or a value is none that `to_json` gives."""
        try:
            Status(values["status"])
            if not all(isinstance(values[name], str) for name in ("sample_id", "question", "kind", "image", "failure")):
                raise TypeError("a text is no text")
            score = SampleScore(**values["score"]) if values["score"] else None
            measured = Measurement(**values["measured"]) if values.get("measured") else None
            return cls(**{**values, "size_wh": tuple(values["size_wh"]), "score": score, "measured": measured})
        except (KeyError, TypeError, ValueError) as error:
            names = ", ".join(item.name for item in fields(cls))
            raise InvalidInput(f"not a result of this version ({error}); expected the keys {names}") from error


def grounding_values(grounding: Grounding) -> dict[str, Any]:
    return {
        "box_xyxy": _rounded(grounding.box_xyxy),
        "points_xy": _rounded(grounding.points_xy),
        "point_labels": np.asarray(grounding.point_labels).tolist(),
        "label": grounding.label,
        "score": grounding.score,
    }


def region_values(region: Region) -> dict[str, Any]:
    return {
        "box_xyxy": _rounded(region.box_xyxy),
        "mask_score": round(region.mask_score, 4),
        "box_iou": round(region.box_iou, 4),
        "points_inside": round(region.points_inside, 4),
        "holes": region.holes,
        "fragments": region.fragments,
    }


def _rounded(values: Any) -> Any:
    return np.round(np.asarray(values, np.float64), 2).tolist()


class ResultLines:
    """A file of JSON lines, one a result; a later line of the same sample replaces an earlier one.

    Only the places of the lines are kept in memory. Use it in a `with` statement.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}

    def __enter__(self) -> ResultLines:
        """Open the file and find what it holds. The end of a line that a killed run left half written is cut off.

        Raises InvalidInput if a line before the last is damaged: what follows it would be lost.
        """
        # A link would have the results appended to whatever it leads to.
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")
        try:
            self._find_lines()
        except BaseException:
            self._file.close()
            raise
        return self

    def _find_lines(self) -> None:
        place = 0
        for number, line in enumerate(_lines(self._file, self.path), 1):
            try:
                values = parse_json(line, unique_keys=False)
                whole = line.endswith(b"\n") and isinstance(values, dict) and "sample_id" in values
            except InvalidInput:
                whole = False
            if not whole and not self._file.read(1):
                break
            try:
                if not whole:
                    raise InvalidInput("it is damaged")
                self._places[SampleResult.from_json(values).sample_id] = place
            except InvalidInput as error:
                remedy = "cut the file off there, or choose another --out"
                raise InvalidInput(f"line {number} of {self.path} is no result: {error}; {remedy}") from error
            place += len(line)
        with naming(self.path):
            self._file.truncate(place)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, sample_id: str) -> bool:
        return sample_id in self._places

    def __iter__(self) -> Iterator[str]:
        """The ids of the samples."""
        return iter(self._places)

    def append(self, result: SampleResult) -> None:
        """Write a result; it is on the disk when this returns."""
        line = json_text(result.to_json()).encode() + b"\n"
        with naming(self.path):
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._places[result.sample_id] = place

    def read(self, sample_id: str) -> SampleResult:
        self._file.seek(self._places[sample_id])
        return SampleResult.from_json(parse_json(self._file.readline(), unique_keys=False))


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file from where it stands. Raises InvalidInput if one is too long for a sample."""
    while line := file.readline(LONGEST_LINE_BYTES):
        if len(line) == LONGEST_LINE_BYTES:
            raise InvalidInput(f"{path} has a line of more than {LONGEST_LINE_BYTES} bytes; it is no result")
        yield line


def write_results(path: Path, run: dict[str, Any], results: Iterable[SampleResult]) -> None:
    """Write `{"run": run, "samples": [...]}`, one sample a line; the file takes its place when it is complete."""
    with whole_file(path) as file:
        file.write('{"run": ' + json_text(run) + ',\n"samples": [')
        for number, result in enumerate(results):
            file.write((",\n" if number else "\n") + json_text(result.to_json()))
        file.write("\n]}\n")


class Results(Mapping[str, SampleResult]):
    """The samples of a results.json by their ids, each read when it is asked for; only its place is kept in memory.

    Attributes:
        run: description of the run.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidInput if the file is not as `write_results` writes it."""
        self.path = path
        self._places: dict[str, int] = {}
        try:
            with path.open("rb") as file:
                lines = _lines(file, path)
                self.run: dict[str, Any] = parse_json(next(lines, b"").rstrip(b",\n") + b"}")["run"]
                if not isinstance(self.run, dict):
                    raise ValueError("its first line does not describe the run")
                if next(lines, b"") != b'"samples": [\n':
                    raise ValueError("its second line does not begin the samples, which stand one a line")
                place = file.tell()
                for line in lines:
                    if line == b"]}\n":
                        return
                    sample_id = SampleResult.from_json(parse_json(line.rstrip(b",\n"), unique_keys=False)).sample_id
                    if sample_id in self._places:
                        raise ValueError(f"the sample {sample_id!r:.80} stands in it twice")
                    self._places[sample_id] = place
                    place += len(line)
                raise ValueError("it breaks off")
        except (OSError, ValueError, KeyError, TypeError) as error:
            stated = error.strerror if isinstance(error, OSError) else error
            raise InvalidInput(f"{path} is not the results of an evaluation: {stated}") from error

    def __getitem__(self, sample_id: str) -> SampleResult:
        with self.path.open("rb") as file:
            file.seek(self._places[sample_id])
            return SampleResult.from_json(parse_json(file.readline().rstrip(b",\n"), unique_keys=False))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

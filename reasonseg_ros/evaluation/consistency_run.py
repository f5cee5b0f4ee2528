"""The consistency of a run's answers. It can be interrupted and continued; no copy is asked about twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.consistency import CHANGES, OUTCOMES, CopyResult, ask_about_copies, consistency_summary
from reasonseg_ros.evaluation.reading.clips import Clip
from reasonseg_ros.evaluation.result_lines import ResultLines
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.faults import naming
from reasonseg_ros.files.appended import append_line, open_appended
from reasonseg_ros.files.strict_json import parse_json
from reasonseg_ros.images.run_lengths import mask_from_rle
from reasonseg_ros.methods.port import Method
from reasonseg_ros.reasoner.call import WAIT, Call, ignore
from reasonseg_ros.types import Frame

FILE_NAME = "consistency.jsonl"


@dataclass(frozen=True)
class Original:
    """A question about one image, with its stored result."""

    result: SampleResult
    load_frame: Callable[[], Frame]


def stills(clips: Iterable[Clip], lines: ResultLines) -> Iterator[Original]:
    """The questions about single images of a bag that a run has answered."""
    for sample in (sample for clip in clips for sample in clip.samples):
        if sample.sample_id in lines:
            yield Original(lines.read(sample.sample_id), sample.load_frame)


def run_consistency(
    clips: Iterable[Clip], out: Path, method: Method, on_progress: Callable[[str], None] = ignore
) -> dict[str, Any]:
    """Ask about the copies of a run's stills, and summarise. `clips` are those of its bags, read again.

    `on_progress` is called with a line about the progress.
    """
    results: list[CopyResult] = []
    without_answer = 0
    with ResultLines(out / "results.jsonl") as kept, CopyLines(out / FILE_NAME) as lines:
        for number, found in enumerate(check_run(stills(clips, kept), method, lines), 1):
            results += found
            without_answer += not found
            consistent, inconsistent = (sum(one.outcome == name for one in results) for name in OUTCOMES[:2])
            judged = consistent + inconsistent
            on_progress(f"copies of {number} questions: {consistent} of {judged} answers are consistent")
    return consistency_summary(results, without_answer)


class CopyLines:
    """A file with one line for each copy that was asked about. A line is on the disk before the next question begins.

    Use it in a `with` statement. An incomplete last line, left by a killed run, is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[tuple[str, str], CopyResult] = {}

    def __enter__(self) -> CopyLines:
        """Raises InvalidInput if a line before the last is damaged."""
        with naming(self.path):
            self._file = open_appended(self.path)
            try:
                lines = self._file.read().split(b"\n")
                for number, line in enumerate(lines[:-1], 1):
                    self._take(line, number)
                self._file.truncate(sum(len(line) + 1 for line in lines[:-1]))
                self._file.seek(0, os.SEEK_END)
            except BaseException:
                self._file.close()
                raise
        return self

    def _take(self, line: bytes, number: int) -> None:
        try:
            result = CopyResult(**parse_json(line))
            if result.kind not in CHANGES or not isinstance(result.sample_id, str):
                raise TypeError(f"no copy of kind {result.kind!r:.40}")
        except (InvalidInput, TypeError) as error:
            raise InvalidInput(f"line {number} of {self.path} is no result ({error}); remove the file") from error
        self.results[result.sample_id, result.kind] = result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, result: CopyResult) -> None:
        with naming(self.path):
            append_line(self._file, result.to_json())
        self.results[result.sample_id, result.kind] = result


def check_run(
    originals: Iterable[Original], method: Method, lines: CopyLines, call: Call = WAIT
) -> Iterator[list[CopyResult]]:
    """Ask about the copies of each original, and yield their results; an empty list if the original has no answer.

    Copies in the file are not asked about again unless they failed.
    """
    for original in originals:
        result = original.result
        if not result.answered or result.mask is None:
            yield []
            continue
        kept = {kind: lines.results.get((result.sample_id, kind)) for kind in CHANGES}
        kinds = [kind for kind, found in kept.items() if found is None or found.outcome == "failed"]
        if kinds:
            mask = mask_from_rle(result.mask)
            frame = original.load_frame()
            for found in ask_about_copies(result.sample_id, frame, result.question, mask, method, kinds, call):
                lines.append(found)
        yield [lines.results[result.sample_id, kind] for kind in CHANGES]

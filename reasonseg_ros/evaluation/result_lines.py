"""`results.jsonl`, the only file that results are read from: one line per sample, appended during a run.

Each line is on the disk before the next sample begins, so a killed run can continue where it was. A later line for the
same sample replaces an earlier one. Only the offsets of the lines are kept in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.faults import naming
from reasonseg_ros.files.appended import append_line, open_appended
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.files.whole_file import whole_file

LONGEST_LINE_BYTES = 2**28
"""A longer line is damage. The limit keeps it from taking all memory."""


class ResultLines:
    """The results file of a run in progress. Use it in a `with` statement."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}

    def __enter__(self) -> ResultLines:
        """Open the file and index its lines. An incomplete last line, left by a killed run, is cut off.

        Raises InvalidInput if a line before the last is damaged, as cutting there would lose the lines after it.
        """
        self._file = open_appended(self.path)
        try:
            self._places, end = _found(self._file, self.path)
            with naming(self.path):
                self._file.truncate(end)
        except InvalidInput as error:
            self._file.close()
            raise InvalidInput(f"{error}; cut the file off there, or choose another --out") from error
        except BaseException:
            self._file.close()
            raise
        return self

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
        with naming(self.path):
            place = self._file.seek(0, os.SEEK_END)
            append_line(self._file, result.to_json())
        self._places[result.sample_id] = place

    def read(self, sample_id: str) -> SampleResult:
        return _read(self._file, self._places[sample_id])


class Results(Mapping[str, SampleResult]):
    """The results of a run by sample id. The file is only read, so the run may still be in progress."""

    def __init__(self, path: Path) -> None:
        """`path` is a run's folder, or its results.jsonl. Raises InvalidInput if there is none, or it is damaged."""
        self.path = _results_file(path)
        try:
            with self.path.open("rb") as file:
                self._places, _ = _found(file, self.path)
        except OSError as error:
            raise InvalidInput(f"{self.path} cannot be read: {error.strerror}") from error

    def __getitem__(self, sample_id: str) -> SampleResult:
        with self.path.open("rb") as file:
            return _read(file, self._places[sample_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def write_results(path: Path, run: dict[str, Any], results: Iterable[SampleResult]) -> None:
    """Write `{"run": run, "samples": [...]}` for people and other tools; this package does not read it back.

    Each sample is one line. The file is replaced only when it is complete.
    """
    with whole_file(path) as file:
        file.write('{"run": ' + json_text(run) + ',\n"samples": [')
        for number, result in enumerate(results):
            file.write((",\n" if number else "\n") + json_text(result.to_json()))
        file.write("\n]}\n")


def _results_file(path: Path) -> Path:
    file = path if path.is_file() or path.suffix in (".json", ".jsonl") else path / "results.jsonl"
    if file.suffix == ".json":
        raise InvalidInput(f"{file}: results are read from results.jsonl; give that file, or the folder that holds it")
    if not file.exists():
        if (file.parent / "results.json").exists():
            remedy = "copy that from where the run was made, or evaluate again"
            raise InvalidInput(f"{file.parent} has results.json but no results.jsonl, which is needed; {remedy}")
        raise InvalidInput(f"{file.parent} has no {file.name}; give the --out folder of `reasonseg evaluate`")
    return file


def _found(file: BinaryIO, path: Path) -> tuple[dict[str, int], int]:
    """The offset of each sample's line, and the end of the last complete line. An incomplete last line is left out.

    Raises InvalidInput if an earlier line is damaged.
    """
    places: dict[str, int] = {}
    place = 0
    for number, line in enumerate(_lines(file, path), 1):
        try:
            values = parse_json(line, unique_keys=False)
            whole = line.endswith(b"\n") and isinstance(values, dict) and "sample_id" in values
        except InvalidInput:
            whole = False
        if not whole and not file.read(1):
            break
        try:
            if not whole:
                raise InvalidInput("it is damaged")
            places[SampleResult.from_json(values).sample_id] = place
        except InvalidInput as error:
            raise InvalidInput(f"line {number} of {path} is no result: {error}") from error
        place += len(line)
    return places, place


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file from its current position. Raises InvalidInput if one is too long for a sample."""
    while line := file.readline(LONGEST_LINE_BYTES):
        if len(line) == LONGEST_LINE_BYTES:
            raise InvalidInput(f"{path} has a line of more than {LONGEST_LINE_BYTES} bytes; it is no result")
        yield line


def _read(file: BinaryIO, place: int) -> SampleResult:
    file.seek(place)
    return SampleResult.from_json(parse_json(file.readline(), unique_keys=False))

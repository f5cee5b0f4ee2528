"""`python -m benchmarks`: run the rows, print the table, and write both files into `benchmarks/results`.

    python -m benchmarks [--rows ROW ...] [--quick]          # CPU
    python -m benchmarks --gpu [--rows ROW ...] [--quick]    # the same on an NVIDIA GPU, and the rows that need one
    python -m benchmarks --stand-in                          # those, by small models on the CPU: does the script run?

What is made once (exports, a bag) is kept in `build/benchmarks`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks.apart import apart
from benchmarks.results import RESULTS, ROOT, Row, commit, library_versions, machine, markdown, new_paths, write

CACHE = ROOT / "build" / "benchmarks"


@dataclass(frozen=True)
class Sizes:
    """How much is run."""

    repetitions: int = 5
    questions: int = 0
    answers: int = 30
    starts: int = 3
    samples: int = 200
    evaluations: int = 2
    frames: int = 10_000
    asked: int = 1000
    memory_s: float = 400.0
    videos: int = 4


NEED_A_GPU = (
    "encoder and decoder of every SAM2.1 size: TensorRT fp16, ONNX Runtime CUDA, torch eager bf16",
    "reasoners of the shape of Qwen2.5-VL 3B and 7B: prompt and tokens a second, share of the memory bandwidth",
    "question to masks with these reasoners, and the GPU memory of each",
)
QUICK = Sizes(2, 2, 5, 1, 6, 1, 300, 10, 60.0, 1)
"""To see that everything runs; its figures say little."""


def cpu_groups(sizes: Sizes) -> dict[str, Callable[[], Iterator[Row]]]:
    """The groups of rows by the names that `--rows` takes; libraries are imported by the group that needs them."""

    def segmenter() -> Iterator[Row]:
        from benchmarks.segmenter_rows import rows

        return rows(CACHE, sizes.repetitions)

    return {"segmenter": segmenter, **shared_groups(sizes, "cpu")}


def gpu_groups(sizes: Sizes) -> dict[str, Callable[[], Iterator[Row]]]:
    return {**large_groups(sizes), **shared_groups(sizes, "cuda")}


def large_groups(sizes: Sizes, stand_in: bool = False) -> dict[str, Callable[[], Iterator[Row]]]:
    """What only a GPU runs in reasonable time; `stand_in` has small models on the CPU take their places."""

    def engines(size: str) -> Iterator[Row]:
        from benchmarks.gpu_rows import GPU, STAND_IN, engine_rows

        return engine_rows(size, CACHE, sizes.repetitions, STAND_IN if stand_in else GPU)

    def reasoner(name: str) -> Iterator[Row]:
        from benchmarks.gpu_rows import GPU, STAND_IN, reasoner_rows

        return reasoner_rows(name, CACHE, sizes.repetitions, STAND_IN if stand_in else GPU)

    most = 1 if stand_in else None
    groups: dict[str, Callable[[], Iterator[Row]]] = {}
    groups |= {f"engines-{size}": partial(engines, size) for size in ("tiny", "small", "base_plus", "large")[:most]}
    return groups | {f"reasoner-{name}": partial(reasoner, name) for name in ("3B", "7B")[:most]}


def stand_in_groups(sizes: Sizes) -> dict[str, Callable[[], Iterator[Row]]]:
    return large_groups(sizes, stand_in=True)


def shared_groups(sizes: Sizes, device: str) -> dict[str, Callable[[], Iterator[Row]]]:
    parameters = [f"reasoner.device:={device}", f"segmenter.device:={device}"]

    def method() -> Iterator[Row]:
        from benchmarks.method_rows import rows

        return rows(device, sizes.repetitions, sizes.questions)

    def node() -> Iterator[Row]:
        from benchmarks.node_rows import overhead_row, start_row

        yield overhead_row(CACHE, sizes.answers, parameters)
        yield start_row(CACHE, sizes.starts, parameters)

    def memory() -> Iterator[Row]:
        from benchmarks.node_rows import memory_row

        given, told = parameters, "the embedded models"
        if device == "cpu":  # so that so many questions are answered in time
            given = [*parameters, "tracker.mode:=reprompt", "stream.catch_up_s:=0.1"]
            told += ", masks followed by prompting anew for 0.1 s at most"
        yield memory_row(CACHE, sizes.frames, sizes.asked, sizes.memory_s, told=told, parameters=given)

    def evaluation() -> Iterator[Row]:
        from benchmarks.evaluation_rows import evaluation_row

        yield evaluation_row(CACHE, sizes.samples, sizes.evaluations, device)

    def late() -> Iterator[Row]:
        from benchmarks.evaluation_rows import late_rows

        return late_rows(CACHE, sizes.videos)

    return {"method": method, "node": node, "evaluation": evaluation, "memory": memory, "late": late}


KINDS = {"CPU": cpu_groups, "GPU": gpu_groups, "stand-in": stand_in_groups}


def group_rows(kind: str, name: str, sizes: Sizes) -> Iterator[Row]:
    return KINDS[kind](sizes)[name]()


def measured(kind: str, name: str, sizes: Sizes) -> Iterator[Row]:
    """The group's rows, made in a process of its own; where it breaks off, one that says so."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    for row in apart(name, group_rows, kind, name, sizes):
        told = row.note if row.value is None else f"{row.value} {row.unit}"
        print(f"  {row.name}: {told}", file=sys.stderr, flush=True)
        yield row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gpu", action="store_true", help="on an NVIDIA GPU")
    where.add_argument("--stand-in", action="store_true", help="the GPU's rows by small models on the CPU, as a test")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these groups")
    parser.add_argument("--quick", action="store_true", help="as little as possible, to see that everything runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    settings = parser.parse_args()
    sizes = QUICK if settings.quick or settings.stand_in else Sizes()
    kind = "GPU" if settings.gpu else "stand-in" if settings.stand_in else "CPU"
    groups = KINDS[kind](sizes)
    if unknown := set(settings.rows) - set(groups):
        parser.error(f"no rows {', '.join(sorted(unknown))}; there are {', '.join(groups)}")
    about: dict[str, Any] = {
        "title": f"reasonseg_ros beside what a user would run instead, {kind}"
        f"{', sizes of --quick' if settings.quick else ''}"
        f"{': small models on the CPU, whose figures mean nothing' if settings.stand_in else ''}",
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "versions": library_versions(),
    }
    if settings.gpu and not about["machine"]["gpus"]:
        print("benchmarks: no NVIDIA GPU is here; `make bench` measures the CPU", file=sys.stderr)
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded
    start_s = time.monotonic()
    gpu = (about["machine"]["gpus"] or [f"{about['machine']['cores']}-core-cpu"])[0].partition(",")[0]
    paths = new_paths(settings.out, "stand-in" if settings.stand_in else gpu)
    rows: list[Row] = []

    def keep(*found: Row, state: str = "") -> None:
        rows.extend(found)
        about["seconds"] = round(time.monotonic() - start_s, 1)
        write(rows, {**about, "title": about["title"] + state}, paths)

    try:
        with FileLock(CACHE / "lock", timeout=0):
            for name in groups:
                if not settings.rows or name in settings.rows:
                    for row in measured(kind, name, sizes):
                        keep(row, state=" (the run had not ended)")
    except Timeout:
        print("benchmarks: another run goes on, and both would be disturbed; wait for its end", file=sys.stderr)
        return 2
    complete = all(row.value is not None for row in rows)
    missing = NEED_A_GPU if kind == "CPU" and not settings.rows else ()
    keep(*(Row(name, "", note="not measured: needs an NVIDIA GPU, `make bench-gpu`") for name in missing))
    print(markdown(rows, about))
    print(f"written: {paths[0]} and {paths[1].name}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())

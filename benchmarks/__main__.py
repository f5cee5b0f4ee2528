"""`python -m benchmarks`: run the rows, print the table, and write both files into `benchmarks/results`.

    python -m benchmarks [--rows ROW ...] [--quick]          # CPU
    python -m benchmarks --gpu [--rows ROW ...] [--quick]    # the same on an NVIDIA GPU, and the rows that need one

What is made once (exports, a bag) is kept in `build/benchmarks`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks.results import RESULTS, ROOT, Row, commit, library_versions, machine, markdown, write

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
    memory_s: float = 240.0
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
    def engines() -> Iterator[Row]:
        from benchmarks.gpu_rows import engine_rows

        return engine_rows(CACHE, sizes.repetitions)

    def reasoners() -> Iterator[Row]:
        from benchmarks.gpu_rows import reasoner_rows

        return reasoner_rows(CACHE, sizes.repetitions)

    return {"engines": engines, "reasoners": reasoners, **shared_groups(sizes, "cuda")}


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
        from benchmarks.sam2_shapes import exported

        given, told = parameters, "the embedded models"
        if device == "cpu":  # so that so many questions are answered in time
            small = exported("tabletop-segmenter", 256, "fp32", CACHE)
            given, told = [*parameters, f"segmenter.model:={small}"], "the embedded models, the segmenter at 256 px"
        yield memory_row(CACHE, sizes.frames, sizes.asked, sizes.memory_s, told=told, parameters=given)

    def evaluation() -> Iterator[Row]:
        from benchmarks.evaluation_rows import evaluation_row

        yield evaluation_row(CACHE, sizes.samples, sizes.evaluations, device)

    def late() -> Iterator[Row]:
        from benchmarks.evaluation_rows import late_rows

        return late_rows(CACHE, sizes.videos)

    return {"method": method, "node": node, "evaluation": evaluation, "memory": memory, "late": late}


def measured(name: str, group: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The group's rows; where it breaks off, one that says so."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    try:
        for row in group():
            print(f"  {row.name}: {row.value} {row.unit}", file=sys.stderr, flush=True)
            yield row
    except Exception as error:  # whatever a library raises, the other groups are still measured
        traceback.print_exc()
        yield Row(f"{name}: not measured any further", "", note=f"{type(error).__name__}: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="on an NVIDIA GPU")
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these groups")
    parser.add_argument("--quick", action="store_true", help="as little as possible, to see that everything runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    settings = parser.parse_args()
    sizes = QUICK if settings.quick else Sizes()
    groups = gpu_groups(sizes) if settings.gpu else cpu_groups(sizes)
    if unknown := set(settings.rows) - set(groups):
        parser.error(f"no rows {', '.join(sorted(unknown))}; there are {', '.join(groups)}")
    about: dict[str, Any] = {
        "title": f"reasonseg_ros beside what a user would run instead, {'GPU' if settings.gpu else 'CPU'}"
        f"{', sizes of --quick' if settings.quick else ''}",
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
    chosen = {name: group for name, group in groups.items() if not settings.rows or name in settings.rows}
    try:
        with FileLock(CACHE / "lock", timeout=0):
            rows = list(chain.from_iterable(measured(name, group) for name, group in chosen.items()))
    except Timeout:
        print("benchmarks: another run goes on, and both would be disturbed; wait for its end", file=sys.stderr)
        return 2
    about["seconds"] = round(time.monotonic() - start_s, 1)
    complete = all(row.value is not None for row in rows)
    if not settings.gpu and not settings.rows:
        rows += [Row(name, "", note="not measured: needs an NVIDIA GPU, `make bench-gpu`") for name in NEED_A_GPU]
    name = (about["machine"]["gpus"] or [f"{about['machine']['cores']}-core-cpu"])[0].partition(",")[0]
    paths = write(rows, about, settings.out, name)
    print(markdown(rows, about))
    print(f"written: {paths[0]} and {paths[1].name}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())

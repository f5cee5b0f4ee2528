"""`python -m benchmarks`: run the rows, print the table, and write both files into `benchmarks/results`.

    python -m benchmarks [--rows ROW ...] [--quick]          # CPU
    python -m benchmarks --gpu [--rows ROW ...] [--quick]    # the same on an NVIDIA GPU, and the rows that need one
    python -m benchmarks --stand-in                          # the GPU rows with small models on the CPU, as a test

Exports and the bag are made once and kept in `build/benchmarks`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks.results import RESULTS, Row, commit, library_versions, machine, markdown, new_paths, write
from benchmarks.table.apart import apart
from benchmarks.table.groups import CACHE, KINDS, NEED_A_GPU, QUICK, Sizes, group_rows


def measured(kind: str, name: str, sizes: Sizes) -> Iterator[Row]:
    """The rows of a group, measured in a separate process. If it fails, a row says so."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    for row in apart(name, group_rows, kind, name, sizes):
        result = row.note if row.value is None else f"{row.value} {row.unit}"
        print(f"  {row.name}: {result}", file=sys.stderr, flush=True)
        yield row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--gpu", action="store_true", help="on an NVIDIA GPU")
    where.add_argument("--stand-in", action="store_true", help="the GPU rows with small models on the CPU, as a test")
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
        print("benchmarks: another run is in progress and would be disturbed; wait until it ends", file=sys.stderr)
        return 2
    complete = all(row.value is not None for row in rows)
    missing = NEED_A_GPU if kind == "CPU" and not settings.rows else ()
    keep(*(Row(name, "", note="not measured: needs an NVIDIA GPU, `make bench-gpu`") for name in missing))
    print(markdown(rows, about))
    print(f"written: {paths[0]} and {paths[1].name}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())

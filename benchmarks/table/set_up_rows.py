"""`make setup-demo` in a new clone of the last commit, without the surrounding environment and without pip's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.results import ROOT, Row
from benchmarks.timing import cpu_seconds
from reasonseg_ros.errors import ReasonSegError


def rows(clone: Path) -> Iterator[Row]:
    """Needs the network or a local package index. The messages are compiled as well.

    Raises ReasonSegError if the set-up fails.
    """
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    own = sysconfig.get_path("scripts")  # of the environment that the benchmark runs in
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != own)
    start_s, start_cpu_s = time.monotonic(), cpu_seconds()
    done = subprocess.run(
        ["make", "setup-demo"], cwd=clone, capture_output=True, text=True,
        env={"HOME": str(Path.home()), "PATH": path, "PIP_NO_CACHE_DIR": "1"},
    )  # fmt: skip
    seconds, cpu_s = time.monotonic() - start_s, cpu_seconds() - start_cpu_s
    if done.returncode:
        raise ReasonSegError(f"make setup-demo ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    what, note = "`make setup-demo` in a new clone", f"{cpu_s:.0f} s of CPU; without pip's cache"
    yield Row("set-up for `make demo`, time", what, value=seconds, unit="s", aim=90.0, note=note)
    size_mb = disk_bytes(clone / ".venv") / 1e6
    yield Row("set-up for `make demo`, size", what, value=size_mb, unit="MB", aim=750.0, note="disk space of .venv")
    shutil.rmtree(clone)


def disk_bytes(folder: Path) -> int:
    """Disk space of the files as `du` counts it: a file with several names counts once."""
    files = {(status.st_dev, status.st_ino): status.st_blocks for status in map(os.lstat, folder.rglob("*"))}
    return 512 * sum(files.values())

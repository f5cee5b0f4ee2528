"""Rows of a benchmark and their two files: all figures as JSON, and a table to read."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.timing import Times
from reasonseg_ros.engine.gpu import gpus
from reasonseg_ros.versions import versions

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
FURTHER_LIBRARIES = ("sam2", "tensorrt_rtx_cu13_libs")


@dataclass
class Row:
    """One line of the table.

    Attributes:
        ours, other: what was run; `other` is what a user would run instead, empty for a figure without a baseline.
        value: the speed-up in wall time over the other, or the figure itself; None if it was not measured.
        unit: of `value`; `x` is a speed-up.
        aim: minimum (for `x` and shares of the best possible) or maximum (for everything else); None: no aim.
        cpu_ratio: CPU time of the other divided by that of ours.
        note: what a reader has to know, and for a missed aim the reason.
        details: everything that was measured.
    """

    name: str
    ours: str
    other: str = ""
    value: float | None = None
    unit: str = "x"
    aim: float | None = None
    cpu_ratio: float | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool | None:
        if self.value is None or self.aim is None:
            return None
        return self.value >= self.aim if self.unit in AT_LEAST else self.value <= self.aim


AT_LEAST = ("x", "% of the bound")


def compared(name: str, ours: str, other: str, aim: float | None, times: Mapping[str, Times], **more: Any) -> Row:
    """A row that compares `times["ours"]` with `times["other"]`; `more` are further fields of the row."""
    one, two = times["ours"], times["other"]
    return Row(
        name, ours, other, two.median_s / one.median_s, "x", aim, two.median_cpu_s / max(one.median_cpu_s, 1e-9),
        more.get("note", ""), {**described(times), **more.get("details", {})},
    )  # fmt: skip


def described(times: Mapping[str, Times]) -> dict[str, Any]:
    return {
        name: {
            "median_ms": round(1e3 * found.median_s, 2),
            "spread_ms": round(1e3 * found.spread_s, 2),
            "median_cpu_ms": round(1e3 * found.median_cpu_s, 2),
            "wall_ms": [round(1e3 * value, 2) for value in found.wall_s],
        }
        for name, found in times.items()
    }


def machine() -> dict[str, Any]:
    cpu = re.search(r"model name\s*: (.*)", _text(Path("/proc/cpuinfo")))
    memory_kib = re.search(r"MemTotal:\s*(\d+)", _text(Path("/proc/meminfo")))
    return {
        "cpu": cpu[1] if cpu else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory_kib[1]) / 2**20, 1) if memory_kib else None,
        "system": platform.platform(),
        "gpus": [f"{gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in gpus()],
        "load_average_at_start": [round(value, 1) for value in os.getloadavg()],
    }


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def commit() -> str:
    """Short hash of the commit, with `+` if files were changed since; empty outside a checkout."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True
        )
    except FileNotFoundError:
        return ""
    return said.stdout.strip()


def library_versions() -> dict[str, str]:
    found = versions()
    for name in FURTHER_LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def new_paths(folder: Path, name: str) -> tuple[Path, Path]:
    """`<date>-<name>.json` and `.md` in `folder`. A second run on the same day gets a number.

    A table without its JSON file also counts as a run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{datetime.date.today().isoformat()}-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    free = next(name for name in names if not any((folder / f"{name}.{end}").exists() for end in ("json", "md")))
    return folder / f"{free}.json", folder / f"{free}.md"


def write(rows: Sequence[Row], about: Mapping[str, Any], paths: tuple[Path, Path]) -> None:
    """Write everything known so far. Called after each row, because a later one may end the run."""
    found = {**about, "rows": [{**asdict(row), "is_met": row.is_met} for row in rows]}
    paths[0].write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(markdown(rows, about), encoding="utf-8")


def markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The table, with the machine and the versions."""
    seen, libraries = about["machine"], ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    lines = [
        f"# {about['title']}, {about['date']}", "",
        f"- machine: {seen['cpu']}, {seen['cores']} cores, {seen['memory_gib']} GiB; "
        f"GPU: {', '.join(seen['gpus']) or 'none'}; load average at the start {seen['load_average_at_start'][0]}",
        f"- command: `{about['command']}`, commit {about['commit'] or 'unknown'}, {about['seconds'] / 60:.1f} minutes",
        f"- {libraries}", "",
        "Medians and, behind ±, median absolute deviations. Both sides of a row ran in turns, on the same weights and "
        "input; x is how many times as fast by the clock, and in brackets how many times less CPU.", "",
        "| row | instead | here | | aim | |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        result = "not measured" if row.value is None else f"**{_number(row.value)} {row.unit}**"
        if row.cpu_ratio is not None:
            result += f" ({_number(row.cpu_ratio)} x)"
        at = "" if row.aim is None else f"{'≥' if row.unit in AT_LEAST else '≤'} {_number(row.aim)} {row.unit}"
        met = {None: "", True: "met", False: "**missed**"}[row.is_met]
        here, instead = (_side(text, row.details.get(key)) for text, key in ((row.ours, "ours"), (row.other, "other")))
        lines.append(f"| {row.name} | {instead} | {here} | {result} | {at} | {met} |")
    notes = [f"- **{row.name}**: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes, ""])


def _side(text: str, times: Mapping[str, Any] | None) -> str:
    if not isinstance(times, Mapping):
        return text
    return f"{text}: {_number(times['median_ms'])} ± {_number(times['spread_ms'])} ms"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"

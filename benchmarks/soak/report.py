"""The soak's result as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


def markdown(found: Mapping[str, Any]) -> str:
    """Markdown about the questions, the node and its memory."""
    ends: Counter[str] = Counter()
    modes: dict[str, Counter[str]] = {}
    for way, counted in found["ends"].items():
        for end, count in counted.items():
            status = end.rpartition(", ")[2] or "no end"
            ends[status] += count
            modes.setdefault(way.rpartition(", ")[2], Counter())[status] += count
    columns = [status for status, _ in ends.most_common()]
    grows, samples, seen = found["memory_growth_mb_per_1000_images"], found["samples"], found["machine"]
    threads, files = (f"{found[name][1]} and {found[name][2]}" for name in ("threads", "files"))
    lines = [
        f"# Soak, {found['date']}: {'failed' if found['failures'] else 'passed'}", "",
        f"- `{found['command']}`, commit {found['commit']}; {seen['cpu']}, {seen['cores']} cores; load average "
        f"{seen['load_average_at_start'][0]} at the start, {found['load_average'][0]} at the end",
        f"- {found['seconds']:.0f} s, {found['images_received']} images received of {found['camera']['images']}, "
        f"{found['questions']} questions, {found['segmentations']} segmentations ({found['carried']} carried forward, "
        f"{found['followed']} followed, {found['results_in_space']} in space)",
        f"- exit code of the node {found['node_exit_code']}, {found['tracebacks']} tracebacks, "
        f"{len(found['node_errors'])} errors logged; {len(found['without_an_end'])} questions without an end, "
        f"{len(found['wrong'])} wrong",
        f"- memory at rest, without kept images: {grows['slope']:+.1f} MB in 1,000 images, 95 % interval "
        f"{grows['low']:+.1f} to {grows['high']:+.1f}; {samples[-1]['memory_mb'] - samples[-1]['kept_mb']:.0f} MB at "
        f"the end; the models were loaded {samples[-1]['loads']} times",
        f"- threads after the warm-up and at the end {threads}, open files {files}",
        f"- failures: {'; '.join(found['failures']) or 'none'}", "",
        "| questions | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|",
    ]  # fmt: skip
    for mode, counted in sorted(modes.items()):
        lines.append(f"| {mode} | " + " | ".join(str(counted[status]) for status in columns) + " |")
    lines += [
        "",
        "What was done: " + ", ".join(f"{name} {count}" for name, count in found["actions"].items()) + ".",
        "",
    ]
    return "\n".join(lines)

"""The report on late answers: one row for each, and tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.late_answers.simulation import RATE_HZ, Costs
from reasonseg_ros.types import Status

TRACKERS = ("memory", "reprompt")
DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
NAIVE, CARRIED = ("as_it_was", "same_box"), ("carried", "on_its_image")


@dataclass
class LateAnswer:
    """One question at its end: IoUs with the truth in the newest image at that time.

    `on_its_image` compares the carried mask with the truth in the image of the mask's stamp, which is a little older.
    """

    video: int
    event: str
    delay_s: float
    tracker: str
    moved: bool
    as_it_was: float
    same_box: float
    carried: float
    on_its_image: float
    status: str
    asked: int
    catch_up_s: float
    age_s: float
    stepped: int
    left_out: int


def summary(rows: Sequence[LateAnswer]) -> dict[str, Any]:
    """Means and medians over the answers of one tracker and delay."""
    if not rows:
        return {"answers": 0}
    at_once = [row for row in rows if row.asked == 1]  # a robot that does not carry asks once
    ious = {
        name: {"mean": round(mean(values), 3), "median": round(median(values), 3)} if values else None
        for name, some in (*((name, at_once) for name in NAIVE), *((name, rows) for name in CARRIED))
        for values in [[getattr(row, name) for row in some]]
    }
    return {
        "answers": len(rows),
        **ious,
        "lost": sum(row.status == Status.LOST for row in rows),
        "asked_again": sum(row.asked > 1 for row in rows),
        "catch_up_s": {"median": median(row.catch_up_s for row in rows), "most": max(row.catch_up_s for row in rows)},
        "age_s_median": median(row.age_s for row in rows),
        "stepped": mean(row.stepped for row in rows),
        "left_out": mean(row.left_out for row in rows),
    }


def tables(rows: Sequence[LateAnswer]) -> dict[str, Any]:
    """Groups of answers: by tracker, then moved or all targets, then delay."""
    return {
        tracker: {
            kind: {
                str(delay_s): summary(
                    [
                        row
                        for row in rows
                        if (row.tracker, row.delay_s) == (tracker, delay_s) and (row.moved or not moved)
                    ]
                )
                for delay_s in DELAYS_S
            }
            for kind, moved in (("moved", True), ("all", False))
        }
        for tracker in TRACKERS
    }


def markdown(found: dict[str, Any]) -> str:
    costs = found["costs_s"]
    lines = [
        f"# Late answers, {found['date']}", "",
        f"- `{found['command']}`, commit {found['commit']}; {found['videos']} videos, {found['answers']} answers",
        f"- simulated time, {found['costs']}: encoding {1e3 * costs['encode_s']:.0f} ms an image, a step "
        f"{1e3 * costs['memory_s']:.0f} ms (memory) and {1e3 * costs['reprompt_s']:.0f} ms (reprompt), "
        f"{1e3 * costs['move_s']:.0f} ms to move a mask, {1e3 * costs['decode_s']:.0f} ms to decode an image; "
        f"at most {found['settings']['stream.catch_up_s']:g} s to catch up; camera {RATE_HZ:g} Hz",
        "- masks a second of one followed target: " + (", ".join(
            f"{rate:.1f} ({name})" for name, rate in found["masks_a_second"].items()
        ) or "all"), "",
        "IoU with the truth in the newest image when the answer arrives, mean / median: the mask as it was reasoned "
        "on, the same box in the newest image (both of the answers that were asked for once), and the mask carried "
        "there; then the carried mask with the truth in the image whose stamp it has. Lost: at the end.", "",
        "| tracker | targets | delay | answers | as it was | same box | **carried** | on its image | lost | "
        "asked again | catching up, median / most | images stepped / left out |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for tracker, kinds in found["by_tracker"].items():
        for kind, delays in kinds.items():
            for delay_s, one in delays.items():
                if not one["answers"]:
                    continue
                ious = " | ".join(
                    f"{one[name]['mean']:.2f} / {one[name]['median']:.2f}" if one[name] else ""
                    for name in NAIVE + CARRIED
                )
                took = one["catch_up_s"]
                lines.append(
                    f"| {tracker} | {kind} | {delay_s} s | {one['answers']} | {ious} | {one['lost']} | "
                    f"{one['asked_again']} | {took['median']:.2f} / {took['most']:.2f} s | "
                    f"{one['stepped']:.1f} / {one['left_out']:.1f} |"
                )
    return "\n".join([*lines, ""])


def write(folder: Path, about: dict[str, Any], costs: Costs, videos: int, rows: Sequence[LateAnswer]) -> None:
    """`<date>-late-answers.json` and `.md`."""
    steps_s = {"memory": costs.memory_s, "reprompt": costs.reprompt_s}
    found = {
        **about,
        "videos": videos,
        "answers": len(rows),
        "costs_s": asdict(costs),
        "masks_a_second": {name: 1 / (costs.encode_s + step_s) for name, step_s in steps_s.items() if step_s},
        "by_tracker": tables(rows),
        "rows": [asdict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{about['date']}-late-answers.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(found), encoding="utf-8")

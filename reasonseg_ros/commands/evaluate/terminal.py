"""The terminal output of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasonseg_ros.plain_text import terminal_text


class EvaluationProgress:
    """A progress bar with the mean IoU and the failures so far."""

    def __init__(self, console: Any, limit: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("Evaluating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"))
        self._progress = Progress(*columns, TimeElapsedColumn(), console=console)
        self._task = self._progress.add_task("", total=limit or None, state="")

    def __enter__(self) -> EvaluationProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, state: str) -> None:
        """Show a text beside the bar."""
        self._progress.update(self._task, state=state)

    def show(self, run: Any) -> None:
        state = f"gIoU {run.iou_sum / run.scored:.3f}" if run.scored else ""
        state += f"  {run.failed} failed" if run.failed else ""
        self._progress.update(self._task, completed=run.samples, state=state)


def print_summary(found: Mapping[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    scores = ("j", "f", "j_and_f") if found["expressions"] else ("ciou", "n_acc", "parseable")
    names = ("samples", "failed", "giou", *scores, "right_target")
    table = Table()
    for name in ("kind", *names):
        table.add_column(name, overflow="fold", no_wrap=name == "kind")
    for kind, group in {**found["by_kind"], "all": found}.items():
        values = [group[name] for name in names]
        table.add_row(
            terminal_text(kind), *(f"{v:.3f}" if isinstance(v, float) else "" if v is None else str(v) for v in values)
        )
    console.print(table)
    for item in found["unreadable"]:
        line = f"failed: {item['sample_id']} {item['reason']}".replace("  ", " ")
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if "consistency" in found:
        _print_consistency(found["consistency"], console)
    for note in found["notes"]:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{out}: results.json, summary.json, report.html", markup=False, highlight=False, soft_wrap=True)


def _print_consistency(found: Mapping[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table(title="consistency of the answers about changed copies")
    for name in ("copy", "judged", "consistent", "rate", "skipped", "failed"):
        table.add_column(name)
    for kind, group in {**found["by_kind"], "all": found["all"]}.items():
        rate = "" if group["rate"] is None else f"{group['rate']:.3f}"
        counts = [str(group[name]) for name in ("judged", "consistent")]
        table.add_row(kind, *counts, rate, str(group["skipped"]), str(group["failed"]))
    console.print(table)

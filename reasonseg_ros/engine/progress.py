"""Progress bars in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bars:
    """A `Report` with a line for each step, and a bar if its progress is known."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console)
        self._task: TaskID | None = None
        self._text = ""

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._bars.stop()

    def __call__(self, text: str, part: float | None) -> None:
        if text != self._text:
            self._end()
            self._text, self._task = text, self._bars.add_task(text, total=None if part is None else 1.0)
        if self._task is not None and part is not None:
            self._bars.update(self._task, completed=part)

    def _end(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, total=1.0, completed=1.0)
            self._bars.stop_task(self._task)

"""The log of a run: one JSON line per step, TensorBoard events, and a picture of the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.files.whole_file import whole_file


class RunCurves:
    """The curves of a run in its folder. A resumed run drops the steps after `step` and repeats them."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self._path = folder / "progress.jsonl"
        self.lines: list[dict[str, float]] = []
        if self._path.exists():
            # A killed process may leave an incomplete line, always after the last saved step.
            complete = self._path.read_text(encoding="utf-8").split("\n")[:-1]
            self.lines = [line for line in map(json.loads, complete) if line["step"] <= step]
        with whole_file(self._path) as file:
            file.writelines(json_text(line) + "\n" for line in self.lines)
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        line = {"step": step, **values}
        self.lines.append(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json_text(line) + "\n")
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def draw(self) -> None:
        """Write `curves.png` with a plot of each value."""
        from matplotlib.figure import Figure

        names = sorted({name for line in self.lines for name in line} - {"step"})
        if not names:
            return
        columns = 4
        height = -(-len(names) // columns)
        figure = Figure(figsize=(4 * columns, 2.6 * height))
        # A constrained layout would draw all axes twice.
        figure.subplots_adjust(
            left=0.15 / columns, right=1 - 0.04 / columns, bottom=0.13 / height, top=1 - 0.13 / height,
            wspace=0.25, hspace=0.35,
        )  # fmt: skip
        for number, name in enumerate(names, 1):
            axes = figure.add_subplot(height, columns, number)
            shown = [line for line in self.lines if name in line]
            axes.plot([line["step"] for line in shown], [line[name] for line in shown], marker="." * (len(shown) < 30))
            axes.set_title(name)
        figure.savefig(self.folder / "curves.png")

    def close(self) -> None:
        self._events.close()
        self.draw()

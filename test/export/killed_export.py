"""An export that is killed. Imported by separate processes."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

from reasonseg_ros.engine.manifest import Graph
from reasonseg_ros.export import official, segmenter


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def export_until(
    source: Path, out: Path, size_px: int, hiera: Any, step: str, delay_s: float, written: Path, graphs: list[Graph]
) -> None:
    """Export, and end `delay_s` after the step that begins with `step`, or at the call of that name.

    Tracing takes most of the time, so these graphs are copied from `written`, an export of the same checkpoint.
    """
    official._HIERA[16, 5] = hiera

    def copy(graph: Graph, *values: Any) -> Graph:
        shutil.copy(written / graph.file, values[-1])
        return graph

    for graph in graphs:
        setattr(segmenter.graphs, f"write_{Path(graph.file).stem}", functools.partial(copy, graph))

    def report(reported: str) -> None:
        if reported.startswith(step):
            timer = threading.Timer(delay_s, kill)
            timer.daemon = True
            timer.start()

    replace = segmenter.os.replace
    if step == "before the folder takes its place":
        segmenter.os.replace = lambda *_: kill()  # type: ignore[assignment]
    if step == "after the folder took its place":
        segmenter.os.replace = lambda *paths: (replace(*paths), kill())  # type: ignore[assignment]
    segmenter.export_segmenter(str(source), out, size_px=size_px, report=report)

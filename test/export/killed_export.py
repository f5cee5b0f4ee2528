"""An export that is killed. Imported by separate processes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from reasonseg_ros.export import official, segmenter


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def export_until(source: Path, out: Path, size_px: int, hiera: Any, step: str, delay_s: float) -> None:
    """Export, and end `delay_s` after the step that begins with `step`, or at the call of that name."""
    official._HIERA[16, 5] = hiera

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

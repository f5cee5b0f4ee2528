"""/diagnostics about depth: whether it arrives, fits the images, and can be transformed to the target frame."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from reasonseg_ros.config import CameraConfig
from reasonseg_ros.ros.diagnostics import OK, WARN, diagnostic
from reasonseg_ros.ros.inputs.synchroniser import Pair


class DepthHealth:
    """Counts depth images, images with and without depth, and reasons for missing 3D results.

    `reading` says how calibration and depth are interpreted, if that makes a difference.
    """

    def __init__(self) -> None:
        self.received = 0
        self.paired = 0
        self.unpaired = 0
        self.problems: Counter[str] = Counter()
        self.is_expected = False
        self.reading = ""
        self._last_problem = ""
        self._reported = 0
        self._lag_s = 0.0
        self._arrived_s = 0.0

    def arrived(self) -> None:
        self.received += 1
        self._arrived_s = time.monotonic()

    def count(self, pair: Pair[Any, Any]) -> None:
        self._lag_s = pair.lag_s
        self.paired += pair.depth is not None
        self.unpaired += pair.depth is None

    def problem(self, reason: str, detail: str) -> None:
        """`reason` is short and constant for the same fault; `detail` has the full text."""
        self.problems[reason] += 1
        self._last_problem = detail

    def status(self, limits: CameraConfig, active: bool) -> DiagnosticStatus:
        """WARN if depth stopped or 3D results were missing since the last call; OK without depth."""
        count = sum(self.problems.values())
        fresh, self._reported = count - self._reported, count
        silent_s = time.monotonic() - self._arrived_s
        level, text = OK, f"{self.paired} images with depth"
        if not active:
            text = "node is not active"
        elif not self.received and not self.is_expected:
            text = "nobody publishes depth; answers stay in the image"
        elif self.received and silent_s >= limits.silent_warn_s:
            level, text = WARN, f"no depth image for {silent_s:.1f} s; answers stay in the image"
        elif fresh:
            level, text = WARN, f"{fresh} times no 3D; {self._last_problem}"
        values: dict[str, object] = {"received": self.received, "images with depth": self.paired}
        values |= {"images without depth": self.unpaired, "lag_s": f"{self._lag_s:.3f}"}
        if self.reading:
            values["calibration"] = self.reading
        values |= {f"problem: {reason}": number for reason, number in sorted(self.problems.items())}
        return diagnostic("depth", level, text, values)

"""An evaluation with scripted models that is killed. Imported by separate processes."""

import os
import signal
from pathlib import Path

from reasonseg_ros import cli
from reasonseg_ros.config import Config
from reasonseg_ros.injection.fault import Fault, Injector
from reasonseg_ros.injection.ports import installed
from reasonseg_ros.methods import loading
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

TEXT = '<think>It is there.</think><answer>[{"bbox_2d": [8, 8, 24, 24], "point_2d": [16, 16]}]</answer>'


class Killer(Injector):
    """Ends the process where a fault would be raised."""

    def reach(self, port: str) -> None:
        try:
            super().reach(port)
        except OSError:
            os.kill(os.getpid(), signal.SIGKILL)


def evaluate(bag: Path, out: Path, *options: str) -> int:
    """With scripted models."""
    loading.load_method = lambda config, **_: SegZero(  # type: ignore[assignment]
        ScriptedReasoner([TEXT]), ScriptedSegmenter("box"), Config()
    )
    return cli.main(["evaluate", str(bag), "--out", str(out), *options])


def run_until_killed(bag: Path, out: Path, port: str, call: int) -> None:
    with installed(Killer(Fault(port, call, "os_error")), out):
        evaluate(bag, out)

"""Evaluates a bag with scripted models and prints the peak of its memory in MB: `BAG OUT`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from reasonseg_ros.config import config_from
from reasonseg_ros.evaluation.bag_messages import read_bags
from reasonseg_ros.evaluation.run import evaluate
from reasonseg_ros.evaluation.run_folder import begin
from reasonseg_ros.evaluation.scoring.judging import Scoring
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

SAID = '<think>A rectangle.</think><answer>[{"bbox_2d": [10, 10, 30, 30], "point_2d": [20, 20]}]</answer>'


def main(bag: Path, out: Path) -> None:
    settings = {"bag": {"name": bag.name}}
    begin(out, settings, resume=False)
    method = SegZero(ScriptedReasoner([SAID]), ScriptedSegmenter("box"), config_from({}))
    evaluate(read_bags([bag]), method, out, Scoring())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

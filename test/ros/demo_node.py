"""The real node in a process, with a reasoner that says the texts listed in the file $REASONSEG_TEST_TEXTS, in turn."""

import json
import os
import sys
from pathlib import Path

from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.ros.node import main
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter


def load(settings, report):
    texts = json.loads(Path(os.environ["REASONSEG_TEST_TEXTS"]).read_text())
    return SegZero(ScriptedReasoner(texts, word_s=0.02), ScriptedSegmenter("box"), settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv, load))

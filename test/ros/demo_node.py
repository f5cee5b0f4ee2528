"""The real node in a process, with a reasoner that answers the texts listed in the file $REASONSEG_TEST_TEXTS."""

import json
import os
import re
import sys
from pathlib import Path

from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import WAIT
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.ros.node import main
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter


class NumberedReasoner(Reasoner):
    """Answers with the text whose number is in the question. So repeated questions of the demo get the same text."""

    name = "numbered"

    def __init__(self, texts):
        self.reasoners = [ScriptedReasoner([text], word_s=0.02) for text in texts]

    def answer(self, frame, text, call=WAIT):
        number = int(re.search(r"\d+", text)[0])
        return self.reasoners[number % len(self.reasoners)].answer(frame, text, call)


def load(settings, report):
    texts = json.loads(Path(os.environ["REASONSEG_TEST_TEXTS"]).read_text())
    return SegZero(NumberedReasoner(texts), ScriptedSegmenter("box"), settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv, load))

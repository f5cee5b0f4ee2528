"""The real node with a scripted reasoner and segmenter. It can also run as a process."""

import sys
import time
from collections.abc import Callable

import numpy as np

from reasonseg_ros.errors import ModelError
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.call import WAIT
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.settings import Settings
from reasonseg_ros.types import Answer, Frame, Grounding, Status

ODD = "a\ud800\x00b\x1b[2J\u202e\udfff"
"""Characters that no message, file or terminal should get: lone surrogates, NUL, escapes, a bidi override."""


class WordReasoner(Reasoner):
    """Finds the bright part of the image. Words in the question make it think for minutes (`slow`) or briefly
    (`brief`), find nothing, fail, or write odd characters."""

    name = "word-reasoner"

    def answer(self, frame, text, call=WAIT):
        thought = f"<think>{ODD if 'odd text' in text else 'the bright one'}"
        for token in range(1, 20_000 if "slow" in text else 10 if "brief" in text else 3):
            if call.cancelled():
                return Answer(Status.CANCELLED, thought="the bright one", error="cancelled", tokens=token)
            call.on_text(thought + " ." * min(token, 200), token)
            if "slow" in text or "brief" in text:
                time.sleep(0.02)
        if "odd text, raised" in text:
            raise RuntimeError(f"{ODD}\nfell over")
        if "boom" in text:
            raise RuntimeError("the model fell over")
        if "memory" in text:
            return Answer(Status.OUT_OF_MEMORY, error="no memory for this image")
        if "unicorn" in text:
            return Answer(Status.NO_TARGET, thought="nothing here fits", model=self.name)
        ys, xs = np.nonzero(frame.rgb.max(2) > 128)
        if not len(xs):
            return Answer(Status.NO_TARGET, thought="it is dark", model=self.name)
        box = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)
        if "odd text" in text:
            return Answer(Status.OK, ODD, (Grounding(box, label=ODD),), ODD, model=ODD, tokens=3)
        raw = f"{thought}</think><answer>[]</answer>"
        return Answer(Status.OK, "the bright one", (Grounding(box),), raw, model=self.name, tokens=3)


class FailingMemorySegmenter(ScriptedSegmenter):
    """Runs out of memory for an image whose first pixel is 255."""

    def encode(self, rgb):
        if rgb[0, 0, 0] == 255:
            raise MemoryError("no room for the image's features")
        return super().encode(rgb)


def load(settings: Settings, report: Callable[[str, float | None], None]) -> SegZero:
    model = settings.now.reasoner.model
    if model == "missing":
        raise ModelError("no checkpoint at 'missing'; set reasoner.model to a folder or a model card's name")
    if model.startswith("slow "):
        report("building an engine", 0.5)
        time.sleep(float(model.removeprefix("slow ")))
    return SegZero(WordReasoner(), FailingMemorySegmenter("box"), settings)


def bright_frame(stamp_ns: int = 1) -> Frame:
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[10:20, 30:50] = 200
    return Frame(rgb, stamp_ns)


if __name__ == "__main__":
    from reasonseg_ros.ros.node import main

    sys.exit(main(sys.argv, load))

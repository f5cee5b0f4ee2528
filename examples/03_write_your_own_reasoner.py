"""A reasoner of your own: it finds the colour that the question names. Put your model in its place.

    python examples/03_write_your_own_reasoner.py image.png "the red thing"
    python examples/03_write_your_own_reasoner.py --node         # the ROS node with this reasoner

Only `name` and `answer` are needed. `Reasoner` has defaults for the rest. The segmenter makes the masks.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from reasonseg_ros import (
    WAIT,
    Answer,
    Call,
    Frame,
    Grounding,
    Query,
    Reasoner,
    SegZero,
    Settings,
    Status,
    config_from,
    load_segmenter,
)

HUES = {"red": (-8, 8), "yellow": (22, 35), "green": (40, 80), "blue": (100, 130)}
"""Range of OpenCV's hue, 0 to 179 and around it."""
LEAST_AREA_PX = 50


class ColorReasoner(Reasoner):
    """Boxes of the connected patches of a named colour, with their middle as point."""

    name = "colours"

    def answer(self, frame: Frame, text: str, call: Call = WAIT) -> Answer:
        named = [color for color in HUES if color in text.lower()]
        if len(named) != 1:
            return Answer(Status.REFUSED, error=f"{len(named)} colours in the question; name one of {', '.join(HUES)}")
        call.on_text(f"I look for {named[0]}", 4)
        if call.cancelled():
            return Answer(Status.CANCELLED, error="cancelled")
        low, high = HUES[named[0]]
        hue, saturation, _ = cv2.split(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2HSV))
        is_hue = (hue.astype(int) - low) % 180 <= high - low
        patches = cv2.connectedComponentsWithStats((is_hue & (saturation > 120)).astype("uint8"))[2][1:]
        groundings = tuple(
            Grounding([x, y, x + width, y + height], [[x + width / 2, y + height / 2]], label=named[0])
            for x, y, width, height, area_px in patches.tolist()
            if area_px >= LEAST_AREA_PX
        )
        thought = f"{len(groundings)} patches are {named[0]}"
        status = Status.OK if groundings else Status.NO_TARGET
        return Answer(status, thought, groundings, model=self.name, tokens=4)


def load(settings: Settings, report: Callable[[str, float | None], None] | None = None) -> SegZero:
    return SegZero(ColorReasoner(), load_segmenter(settings.now.segmenter, report), settings)


def main(image: str, question: str) -> int:
    from reasonseg_ros.images.files import read_image

    segmentation = load(Settings(config_from({}))).answer(Frame(read_image(Path(image))), Query(question))
    print(f"{segmentation.status}: {segmentation.answer.thought or segmentation.answer.error}")
    for region in segmentation.regions:
        print(f"box {region.box_xyxy.tolist()}, {region.mask.sum()} pixels")
    return 0


if __name__ == "__main__":
    if "--node" in sys.argv:
        from reasonseg_ros.ros.node import main as run_node

        sys.argv.remove("--node")
        sys.exit(run_node(sys.argv, load))
    sys.exit(main(*sys.argv[1:3]))

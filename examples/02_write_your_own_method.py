"""A method of your own: if nothing in the image fits, look again at each quarter of it, at twice the size.

    python examples/02_write_your_own_method.py image.png "the red mug"
    python examples/02_write_your_own_method.py --node          # the ROS node with this method

This method wraps another one, so it inherits from `WrappedMethod`. A method that uses a reasoner and a segmenter itself
inherits from `Method`. Both have defaults for batches and videos.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from reasonseg_ros import (
    WAIT,
    Call,
    Frame,
    Grounding,
    Method,
    Query,
    Segmentation,
    Settings,
    Status,
    WrappedMethod,
    config_from,
    load_method,
)

SCALE = 2


class LookCloser(WrappedMethod):
    """Answers as `inner` does, and asks it about the quarters of an image in which it finds nothing."""

    name = "look_closer"

    def answer(self, frame: Frame, query: Query, call: Call = WAIT) -> Segmentation:
        start_s = time.perf_counter()
        whole = self.inner.answer(frame, query, call)
        if whole.status is not Status.NO_TARGET:
            return whole
        for x, y, rgb in quarters(frame.rgb):
            left = call.after(time.perf_counter() - start_s)  # one time limit for all calls
            part = self.inner.answer(Frame(rgb, frame.stamp_ns, frame.frame_id), query, left)
            if part.status is Status.OK:
                found = self.prompt(frame, [in_image(grounding, x, y) for grounding in part.answer.groundings])
                answer = replace(found.answer, thought=part.answer.thought, raw_text=part.answer.raw_text)
                return replace(found, query=query, answer=answer)
            if part.status is not Status.NO_TARGET:  # a failure is not an empty scene
                return replace(whole, answer=replace(part.answer, groundings=()))
        return whole


def quarters(rgb: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """Left and top edge of each quarter, and its pixels at twice the size."""
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    corners = [(x, y) for y in (0, height) for x in (0, width)]
    return [(x, y, cv2.resize(rgb[y : y + height, x : x + width], None, fx=SCALE, fy=SCALE)) for x, y in corners]


def in_image(grounding: Grounding, x: int, y: int) -> Grounding:
    """A quarter's box and points in pixels of the whole image."""
    box_xyxy = grounding.box_xyxy / SCALE + [x, y, x, y]
    return replace(grounding, box_xyxy=box_xyxy, points_xy=grounding.points_xy / SCALE + [x, y])


def load(settings: Settings, report: Callable[[str, float | None], None]) -> Method:
    return LookCloser(load_method(settings, report))


def main(image: str, question: str) -> int:
    from reasonseg_ros.images.files import read_image

    method = load(Settings(config_from({})), lambda step, share: print(step))
    segmentation = method.answer(Frame(read_image(Path(image))), Query(question))
    print(f"{segmentation.status}: {[region.box_xyxy.tolist() for region in segmentation.regions]}")
    return 0


if __name__ == "__main__":
    if "--node" in sys.argv:
        from reasonseg_ros.ros.node import main as run_node

        sys.argv.remove("--node")
        sys.exit(run_node(sys.argv, load))
    sys.exit(main(*sys.argv[1:3]))

"""Asks a question about an image file and draws the answer. No ROS.

    python examples/01_ask_about_an_image.py image.png "the red mug" answer.png

The embedded models know only the simulated tabletop of the demo. For other images name published ones, for example
`config_from({"reasoner.model": "vision-reasoner-7b", "segmenter.model": "sam2.1-large"})`.
"""

import sys
from pathlib import Path

from reasonseg_ros import Frame, Query, Status, config_from, load_method
from reasonseg_ros.images.files import read_image, write_image
from reasonseg_ros.images.overlays.drawing import draw_answer


def main(image: str, question: str, drawing: str) -> int:
    method = load_method(config_from({}))
    segmentation = method.answer(Frame(read_image(Path(image))), Query(question))
    answer = segmentation.answer
    print(f"{answer.status}: {answer.thought or answer.error}")
    for region in segmentation.regions:
        print(f"box {region.box_xyxy.tolist()}, {region.mask.sum()} pixels, score {region.mask_score:.2f}")
    write_image(Path(drawing), draw_answer(segmentation.frame.rgb, segmentation.regions, question, answer))
    return 0 if answer.status in (Status.OK, Status.NO_TARGET) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))

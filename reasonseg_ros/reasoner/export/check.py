"""Compares the answers of an exported reasoner with those of its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros.errors import ModelError
from reasonseg_ros.geometry import box_iou
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.known_picture import NO_PICTURE, drawn_picture, read_known_picture
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.speaking import SpeakingReasoner
from reasonseg_ros.types import Answer, Frame, RgbImage

LONGEST_TOKENS = 128
MOST_S = 3600.0
EQUAL_FP32 = 0.99
"""Required share of equal texts of an fp32 export: sums in another order may swap two tokens of equal logit."""
BOX_IOU_OTHERS = 0.9
"""Required mean IoU of the boxes of other precisions with the checkpoint's."""
QUESTIONS = (
    "the largest thing", "something round", "what is furthest to the left?", "the two things that are closest together",
    "something to write with", "a submarine",
)  # fmt: skip


def check_reasoner_export(original: SpeakingReasoner, exported: SpeakingReasoner, precision: str) -> dict[str, Any]:
    """Ask both the same questions. Returns `questions` (number), `equal_texts` (share) and `box_iou` (mean).

    Raises ModelError if too many texts of an fp32 export differ, or if the boxes of another precision differ too much.
    """
    equal, overlaps = [], []
    for frame, question in questions(original.card):
        limits = Limits(LONGEST_TOKENS, MOST_S)
        said = [reasoner.say_about(frame, question, limits) for reasoner in (original, exported)]
        equal.append((said[0].text, said[0].tokens) == (said[1].text, said[1].tokens))
        answers = [original.parsed(frame, speech, limits) for speech in said]
        overlaps.append(boxes_overlap(*answers))
    checks = {
        "questions": len(equal),
        "equal_texts": round(float(np.mean(equal)), 4),
        "box_iou": round(float(np.mean(overlaps)), 4),
    }
    if precision == "fp32" and checks["equal_texts"] < EQUAL_FP32:
        raise ModelError(
            f"the graphs give the checkpoint's text for {sum(equal)} of {len(equal)} questions; expected "
            f"{EQUAL_FP32:.0%}: the checkpoint's architecture is not the one that these graphs are made for"
        )
    if precision != "fp32" and checks["box_iou"] < BOX_IOU_OTHERS:
        raise ModelError(
            f"boxes of the {precision} graphs have a mean IoU of {checks['box_iou']:.3f} with the checkpoint's; "
            f"expected {BOX_IOU_OTHERS}: use fp32 or int8"
        )
    return checks


def questions(card: ModelCard) -> Iterator[tuple[Frame, str]]:
    """The known picture, also mirrored, darkened and cropped, with its own questions and some others."""
    if card.known_picture and card.known_picture != NO_PICTURE:
        rgb, targets = read_known_picture(Path(card.known_picture))
    else:
        rgb, targets = drawn_picture()
    for picture in _variants(rgb):
        for question in (*(target.question for target in targets), *QUESTIONS):
            yield Frame(picture), question


def _variants(rgb: RgbImage) -> Iterator[RgbImage]:
    height, width = rgb.shape[:2]
    yield rgb
    yield rgb[:, ::-1]
    yield (rgb * 0.6).astype(np.uint8)
    yield rgb[height // 8 : height - height // 8, width // 8 : width - width // 8]


def boxes_overlap(first: Answer, second: Answer) -> float:
    """Mean IoU of the boxes, paired in order. Missing boxes count 0; without boxes in both it is 1."""
    pairs = max(len(first.groundings), len(second.groundings))
    overlaps = [box_iou(one.box_xyxy, other.box_xyxy)
                for one, other in zip(first.groundings, second.groundings, strict=False)]  # fmt: skip
    return float(sum(overlaps) / pairs) if pairs else 1.0

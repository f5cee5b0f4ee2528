"""Chooses masks by their scores: the four selections of LLM-Seg.

Source: Wang and Ke, "LLM-Seg", 2024, arXiv:2404.08767, section on mask selection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.types import BoolMask, FloatArray

Selection = Callable[[FloatArray, FloatArray, float], BoolMask]
"""From IoP [K], IoU scores [K] and a threshold of the IoP to the chosen masks, bool [K]."""


def above_iop(iop: FloatArray, iou_scores: FloatArray, threshold: float) -> BoolMask:
    """Every mask whose predicted IoP is above the threshold."""
    chosen: BoolMask = iop > threshold
    return chosen


def top1_iou(iop: FloatArray, iou_scores: FloatArray, threshold: float) -> BoolMask:
    """The mask with the best IoU score."""
    return best(iou_scores, 1)


def top1_iou_and_above_iop(iop: FloatArray, iou_scores: FloatArray, threshold: float) -> BoolMask:
    """The mask with the best IoU score, and every mask whose predicted IoP is above the threshold."""
    return best(iou_scores, 1) | above_iop(iop, iou_scores, threshold)


def above_iop_of_top5_iou(iop: FloatArray, iou_scores: FloatArray, threshold: float) -> BoolMask:
    """Of the five masks with the best IoU scores, those whose predicted IoP is above the threshold."""
    return best(iou_scores, 5) & above_iop(iop, iou_scores, threshold)


SELECTIONS: dict[str, Selection] = {
    "iop": above_iop,
    "top1": top1_iou,
    "top1_and_iop": top1_iou_and_above_iop,
    "top5_iop": above_iop_of_top5_iou,
}


@dataclass(frozen=True)
class SelectionRule:
    """How masks are chosen.

    Attributes:
        selection: a name in `SELECTIONS`.
        iop_threshold: threshold of the IoP, for the selections that use it.
        none_below: if all predicted IoPs are below this, nothing fits the question.

    Raises InvalidInput for an unknown name or a value outside 0 to 1.
    """

    selection: str = "iop"
    iop_threshold: float = 0.5
    none_below: float = 0.4

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise InvalidInput(f"selection {self.selection!r}; expected one of {', '.join(SELECTIONS)}")
        for name in ("iop_threshold", "none_below"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InvalidInput(f"{name} = {value!r}; expected a number from 0 to 1")

    def choose(self, iop: FloatArray, iou_scores: FloatArray) -> NDArray[np.int64]:
        """Indices of the chosen masks; none if nothing fits."""
        if not len(iop) or iop.max() < self.none_below:
            return np.zeros(0, np.int64)
        return np.flatnonzero(SELECTIONS[self.selection](iop, iou_scores, self.iop_threshold))


def best(scores: FloatArray, count: int) -> BoolMask:
    """Whether each score is among the `count` best, bool [K]. Of equal scores the first ones count."""
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(-scores, kind="stable")[:count]] = True
    return chosen

"""Scores of a selection on questions, and the rule with the best score, at the proposals' resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.selection.choosing import SELECTIONS, SelectionRule
from reasonseg_ros.training.selection.examples import SelectionExample
from reasonseg_ros.training.selection.model import ExportedFusion, Fusion
from reasonseg_ros.types import FloatArray

THRESHOLDS, NONE_BELOW = (0.3, 0.4, 0.5, 0.6, 0.7), (0.0, 0.2, 0.3, 0.4, 0.5, 0.6)


@torch.no_grad()
def selection_scores(fusion: Fusion, examples: Sequence[SelectionExample]) -> list[tuple[FloatArray, FloatArray]]:
    """IoP and similarity of each example's masks."""
    exported = ExportedFusion(fusion.eval())
    found = []
    for example in examples:
        iop, similarity = exported(torch.from_numpy(example.masks), torch.from_numpy(example.state[None]))
        found.append((iop.numpy(), similarity.numpy()))
    return found


Known = dict[tuple[int, ...], float]
"""Cached IoUs of an example, by the indices of the chosen masks."""


def mean_iou(
    rule: SelectionRule,
    examples: Sequence[SelectionExample],
    scores: Sequence[tuple[FloatArray, FloatArray]],
    known: Sequence[Known] | None = None,
) -> float:
    """gIoU: the mean IoU over the questions, 1 where choosing nothing is right. `known` caches IoUs across rules."""
    known = [{} for _ in examples] if known is None else known
    found = zip(examples, scores, known, strict=True)
    return float(np.mean([_iou(rule.choose(*score), example, memory) for example, score, memory in found]))


def _iou(chosen: NDArray[np.int64], example: SelectionExample, known: Known) -> float:
    key = tuple(chosen.tolist())
    if key not in known:
        known[key] = mask_iou(np.logical_or.reduce(example.low_res[chosen], axis=0), example.truth)
    return known[key]


def rules() -> Iterator[SelectionRule]:
    """All candidate rules. A selection without a threshold appears once for each `none_below`."""
    for selection, none_below in product(SELECTIONS, NONE_BELOW):
        for threshold in (0.5,) if selection == "top1" else THRESHOLDS:
            yield SelectionRule(selection, threshold, none_below)


def best_rule(
    examples: Sequence[SelectionExample], scores: Sequence[tuple[FloatArray, FloatArray]]
) -> tuple[SelectionRule, dict[str, float]]:
    """The rule with the best gIoU, and the best gIoU of each selection."""
    known: list[Known] = [{} for _ in examples]
    tried = [(mean_iou(rule, examples, scores, known), rule) for rule in rules()]
    by_selection: dict[str, float] = {}
    for value, rule in tried:
        by_selection[rule.selection] = max(by_selection.get(rule.selection, 0.0), value)
    return max(tried, key=lambda pair: pair[0])[1], by_selection

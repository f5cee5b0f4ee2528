"""Scores every proposed mask for a thought, with the trained fusion module on ONNX Runtime.

Inputs of the graph: masks, float32 [K, F] (`embeddings.embed_masks` and `attended`), and states, float32 [T, D] (hidden
states of the thought). Outputs: iop, float32 [K] (predicted share of each mask on the targets), and similarity, float32
[K] (cosine of each mask with the question, used as IoU score).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.engine.onnxruntime import BoundGraph
from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.selection.card import GRAPH, read_selection_card
from reasonseg_ros.types import FloatArray


@dataclass(frozen=True, eq=False)
class MaskScores:
    """The scores of K masks.

    Attributes:
        iop: predicted intersection divided by the mask's area, float32 [K], 0 to 1.
        similarity: cosine with the question, float32 [K]. Higher values predict a higher IoU.
        chosen: indices of the chosen masks.
    """

    iop: FloatArray
    similarity: FloatArray
    chosen: NDArray[np.int64]


class Selector:
    """A trained selection in a folder. Not thread-safe. Raises ModelError if the folder is damaged."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.card = read_selection_card(folder)
        self._graph = BoundGraph(Path(folder) / GRAPH, "selection", threads)

    def select(self, masks: FloatArray, states: FloatArray) -> MaskScores:
        """Scores of masks [K, F] for hidden states [T, D]. Raises InvalidInput for wrong widths, and ModelError."""
        expected = self.card.mask_features, self.card.state_width
        if (masks.shape[1], states.shape[1]) != expected:
            raise InvalidInput(f"masks of width {masks.shape[1]} and states of width {states.shape[1]}; expected "
                               f"{expected[0]} and {expected[1]}")  # fmt: skip
        iop, similarity = np.zeros(len(masks), np.float32), np.zeros(len(masks), np.float32)
        if len(masks):
            given = {"masks": np.ascontiguousarray(masks), "states": np.ascontiguousarray(states)}
            self._graph.bind(given, {"iop": iop, "similarity": similarity})()
        if not (np.isfinite(iop).all() and np.isfinite(similarity).all()):
            raise ModelError("selection: the scores are not finite; train it again")
        return MaskScores(iop, similarity, self.card.rule.choose(iop, similarity))

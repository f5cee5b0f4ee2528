"""Supervised training of the embedded reasoner on the same rows, as a baseline for rewards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasonseg_ros.training.reasoner import tokenizer as words
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.reinforcement.image_run import ImageRun, asked
from reasonseg_ros.training.reinforcement.plan import RunPlan
from reasonseg_ros.training.reinforcement.run import train_to_end
from reasonseg_ros.training.rows import TRUTH_PX, TrainingRow, TrueTarget


def response_text(row: TrainingRow) -> str:
    """The row's thought and targets as the embedded reasoner writes them, in pixels of its image."""
    items = [_item(target) for target in row.targets]
    answer = words.ITEMS_OPEN + words.ITEMS_NEXT.join(items) + words.ITEMS_CLOSE if items else words.NO_ITEMS
    return words.THINK + row.thought + words.THOUGHT_END + answer + words.ANSWER_END


def _item(target: TrueTarget) -> str:
    """Box and point of a target as text. The embedded reasoner's boxes are exclusive."""
    x1, y1, x2, y2 = (value * IMAGE_WH[i % 2] / TRUTH_PX for i, value in enumerate(target.box_xyxy))
    one_px = (IMAGE_WH[0] / TRUTH_PX, IMAGE_WH[1] / TRUTH_PX)
    box = (x1, y1, x2 + one_px[0], y2 + one_px[1])
    point = (value * size / TRUTH_PX for value, size in zip(target.points_xy[0], IMAGE_WH, strict=True))
    return ",".join(str(round(v)) for v in box) + words.ITEMS_POINT + ",".join(str(round(v)) for v in point)


class EmbeddedSupervised(ImageRun):
    """Trains on the thoughts and targets of the rows, with the mean cross entropy of their tokens."""

    training = "sft"

    def _text(self, row: TrainingRow, rng: np.random.Generator) -> str:
        """The target text of a row."""
        return response_text(row)

    def _learn(self, rows: Sequence[TrainingRow], rng: np.random.Generator) -> dict[str, float]:
        written = [[self.policy.tokens(self._text(row, rng))] for row in rows]
        log_probabilities, entropies, _ = self.policy.log_probabilities(asked(self.plan.rows, rows), written)
        loss = -log_probabilities.mean()
        loss.backward()
        gradient = self._update()
        values = {"loss": loss.detach(), "entropy": entropies.mean(), "gradient": gradient}
        length = float(np.mean([len(tokens) for (tokens,) in written]))
        return {name: float(value) for name, value in values.items()} | {"length": length}


def run_supervised(plan: RunPlan) -> None:
    """Train to the end of the plan, continuing the run in `plan.out`."""
    train_to_end(EmbeddedSupervised(plan))

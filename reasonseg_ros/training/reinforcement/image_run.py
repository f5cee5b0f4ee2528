"""Training runs of the embedded reasoner on questions about one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reasonseg_ros.evaluation.scoring.right_target import paired
from reasonseg_ros.images.files import read_image
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.training.reasoner.model import IMAGE_WH
from reasonseg_ros.training.reinforcement.plan import RunPlan
from reasonseg_ros.training.reinforcement.policy import QuestionBatch
from reasonseg_ros.training.reinforcement.run import EmbeddedRun
from reasonseg_ros.training.rows import TRUTH_PX, Box, TrainingRow, read_rows


class ImageRun(EmbeddedRun[TrainingRow]):
    """A run whose rows are questions about one image."""

    def __init__(self, plan: RunPlan) -> None:
        super().__init__(plan, read_rows)

    def _right(
        self, folder: Path, rows: Sequence[TrainingRow], group: int, temperature: float, seed: int
    ) -> list[bool]:
        answers = self.policy.sampled(asked(folder, rows), group, temperature, seed)
        return [
            means_targets(self.policy.text(tokens), [target.box_xyxy for target in row.targets])
            for row, texts in zip(rows, answers, strict=True)
            for tokens in texts
        ]


def asked(folder: Path, rows: Sequence[TrainingRow]) -> QuestionBatch:
    return QuestionBatch([[read_image(folder / row.image)] for row in rows], [row.question for row in rows])


def means_targets(text: str, boxes_xyxy: Sequence[Box]) -> bool:
    """Whether the answer's boxes match the targets one to one, as in the evaluation. Boxes in pixels of the truth."""
    answer = parse_answer(text, (TRUTH_PX, TRUTH_PX), dialect="vision_reasoner", answer_wh=IMAGE_WH)
    return answer.status.is_answer and paired([found.box_xyxy for found in answer.groundings], list(boxes_xyxy))

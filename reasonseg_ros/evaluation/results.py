"""The stored result of each sample, as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.scoring.failures import Measurement
from reasonseg_ros.evaluation.scoring.metrics import SampleScore
from reasonseg_ros.images.run_lengths import Rle
from reasonseg_ros.types import Grounding, Region, Status

ASKED_AGAIN = (Status.UNAVAILABLE, Status.OUT_OF_MEMORY, Status.FAILED)
"""A resumed run asks again for these statuses: the machine was at fault, not the model's answer."""


@dataclass(frozen=True)
class SampleResult:
    """One question, evaluated. Boxes are x1, y1, x2, y2 and points x, y, in pixels of the image.

    Attributes:
        expression: the same for every frame of one question about a video.
        image: file with the scaled image, relative to the run's folder.
        groundings: `box_xyxy`, `points_xy`, `point_labels`, `label`, `score` of each.
        regions: how each mask fits its prompt: `mask_score` of the segmenter, `box_iou`, `points_inside`, `holes`,
            `fragments`, and `box_xyxy`.
        mask: union of the regions; None if the question was not answered.
        target, ignore, target_boxes_xyxy: the ground truth; None without one.
        score: None without ground truth.
        failure: type of failure (evaluation/scoring/failures.py), with `failure_tags`; empty without ground truth.
        measured: the values that its rules use, so that other thresholds can be applied; None without ground truth.
        ideal_iou: IoU of the segmenter's mask for the true boxes and points; None if that was not tried, or if it
            failed, with the reason in `ideal_error`.
        seconds: time in each stage.
        entropy_nats: of the thought; None if the reasoner does not give it.
        confidence: calibrated probability of the right target; None without a calibration.
    """

    sample_id: str
    question: str
    kind: str
    split: str
    is_sentence: bool
    stamp_ns: int
    size_wh: tuple[int, int]
    image: str
    status: str
    thought: str
    raw_text: str
    error: str
    dialect: str
    tokens: int
    groundings: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    mask: Rle | None
    seconds: dict[str, float]
    target: Rle | None = None
    ignore: Rle | None = None
    target_boxes_xyxy: list[list[float]] = field(default_factory=list)
    target_thought: str = ""
    score: SampleScore | None = None
    failure: str = ""
    failure_tags: list[str] = field(default_factory=list)
    ideal_iou: float | None = None
    expression: str = ""
    measured: Measurement | None = None
    ideal_error: str = ""
    entropy_nats: float | None = None
    confidence: float | None = None

    @property
    def answered(self) -> bool:
        return Status(self.status).has_mask

    @property
    def asked_again(self) -> bool:
        """Whether a resumed run asks this question again."""
        return Status(self.status) in ASKED_AGAIN or bool(self.ideal_error)

    def to_json(self) -> dict[str, Any]:
        """Plain values ready for JSON. Lists and run lengths are the result's, not copies."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        known = {name: values[name] for name in ("score", "measured") if values[name] is not None}
        return {**values, **{name: asdict(value) for name, value in known.items()}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SampleResult:
        """Raises InvalidInput if keys are missing or unknown, or if a value cannot come from `to_json`."""
        try:
            Status(values["status"])
            if not all(isinstance(values[name], str) for name in ("sample_id", "question", "kind", "image", "failure")):
                raise TypeError("a value that should be text is none")
            score = SampleScore(**values["score"]) if values["score"] else None
            measured = Measurement(**values["measured"]) if values.get("measured") else None
            return cls(**{**values, "size_wh": tuple(values["size_wh"]), "score": score, "measured": measured})
        except (KeyError, TypeError, ValueError) as error:
            names = ", ".join(item.name for item in fields(cls))
            raise InvalidInput(f"not a result of this version ({error}); expected the keys {names}") from error


def grounding_values(grounding: Grounding) -> dict[str, Any]:
    return {
        "box_xyxy": _rounded(grounding.box_xyxy),
        "points_xy": _rounded(grounding.points_xy),
        "point_labels": np.asarray(grounding.point_labels).tolist(),
        "label": grounding.label,
        "score": grounding.score,
    }


def region_values(region: Region) -> dict[str, Any]:
    return {
        "box_xyxy": _rounded(region.box_xyxy),
        "mask_score": round(region.mask_score, 4),
        "box_iou": round(region.box_iou, 4),
        "points_inside": round(region.points_inside, 4),
        "holes": region.holes,
        "fragments": region.fragments,
    }


def _rounded(values: Any) -> Any:
    return np.round(np.asarray(values, np.float64), 2).tolist()

"""The probability that an answer means the right targets: free signals, and a calibration that weighs them.

The signals come with every answer. The calibration is a logistic regression, fitted by `reasonseg calibrate` to
questions with known answers and stored as `confidence.json` beside the checkpoint. It is valid for these weights only.
A server does not say which weights it serves, so there it is valid for the model's name; see docs/evaluation.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document
from reasonseg_ros.reasoner.vocabulary import Vocabulary
from reasonseg_ros.types import Segmentation

FILE_NAME = "confidence.json"
REMEDY = "fit it again with `reasonseg calibrate`, or remove the file"
_VERSION = 1


@dataclass(frozen=True)
class Signals:
    """Properties of an answer that are known without ground truth.

    Attributes:
        entropy_nats: sum of the token entropies over the thought.
        targets: number of targets.
        is_none: the answer is that nothing fits.
        mask_score: the lowest predicted IoU of the masks; 1 without masks.
        box_iou: the lowest agreement of a mask with its box; 1 without masks.
        unknown_share: share of the question's words that the checkpoint was not trained on (`reasoner.vocabulary`); 0
            for a checkpoint without a vocabulary.
    """

    entropy_nats: float
    targets: int
    is_none: bool
    mask_score: float
    box_iou: float
    unknown_share: float = 0.0

    @property
    def values(self) -> tuple[float, ...]:
        """The values in the order of `names`, scaled to be about linear in the log-odds."""
        # Many sentences have some unknown words; a question of only unknown words is about another world.
        unknown = self.unknown_share**3
        return (
            math.log1p(max(self.entropy_nats, 0.0)),
            float(min(self.targets, 4)),
            float(self.is_none),
            self.mask_score,
            self.box_iou,
            unknown,
            unknown * self.is_none,  # "nothing fits" is often right for a question in unknown words
        )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return (*(item.name for item in fields(cls)), "unknown_share_and_none")

    @classmethod
    def of(cls, segmentation: Segmentation, vocabulary: Vocabulary | None = None) -> Signals | None:
        """None if the answer is a failure, or the reasoner does not report the entropy."""
        answer, regions = segmentation.answer, segmentation.regions
        if answer.entropy_nats is None or not answer.status.is_answer:
            return None
        return cls(
            answer.entropy_nats,
            len(answer.groundings),
            not answer.groundings,
            min((region.mask_score for region in regions), default=1.0),
            min((region.box_iou for region in regions), default=1.0),
            vocabulary.unknown_share(segmentation.query.text) if vocabulary else 0.0,
        )


@dataclass(frozen=True)
class Calibration:
    """Weights of the signals for the probability of a right target.

    Attributes:
        weights_sha256: digest of the reasoner's weights that it was fitted for (`engine.export_folder.weights_sha256`);
            empty if they were behind a server.
        coefficients: one for each of `Signals.names`; the log-odds are their sum with `intercept`.
        min_confidence: threshold of unsure answers, unless `answer.min_confidence` names another one.
        questions: how many questions it was fitted to.
        auroc, calibration_error: on questions held out by cross-validation.
        source: what it was fitted to, for readers.
        served_model: the name under which a server knew the model that it was fitted for; empty for weights that were
            loaded here. Their entropies differ, because a server lists the likeliest tokens only.
    """

    weights_sha256: str
    coefficients: tuple[float, ...]
    intercept: float
    min_confidence: float
    questions: int
    auroc: float
    calibration_error: float
    source: str = ""
    served_model: str = ""

    def confidence(self, signals: Signals) -> float:
        """Probability that the right targets are meant, 0 to 1."""
        odds = self.intercept + sum(
            weight * value for weight, value in zip(self.coefficients, signals.values, strict=True)
        )
        return 1.0 / (1.0 + math.exp(-max(min(odds, 50.0), -50.0)))

    def to_json(self) -> dict[str, Any]:
        coefficients = dict(zip(Signals.names(), self.coefficients, strict=True))
        return {"version": _VERSION, **asdict(self), "coefficients": coefficients}


def read_calibration(path: Path, weights_sha256: str = "", served_model: str = "") -> Calibration:
    """The calibration for weights, or for a server's model `served_model`.

    Raises ModelError if the file is damaged or was fitted for another one.
    """
    try:
        calibration = _from_json(read_json_document(path))
    except (UnreadableDocument, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is no calibration ({error}); {REMEDY}") from error
    if calibration.served_model != served_model:
        fitted = f"the served model {calibration.served_model!r}" if calibration.served_model else "weights loaded here"
        asked = f"the served model {served_model!r}" if served_model else "weights loaded here"
        raise ModelError(f"{path} was fitted for {fitted}, and is used for {asked}; {REMEDY}")
    if calibration.weights_sha256 != weights_sha256:
        raise ModelError(f"{path} was fitted for other weights than those beside it; {REMEDY}")
    return calibration


def _from_json(values: Any) -> Calibration:
    if not isinstance(values, Mapping) or values.get("version") != _VERSION:
        raise ValueError(f"expected version {_VERSION}")
    names = Signals.names()
    weights = values["coefficients"]
    if set(weights) != set(names):
        raise ValueError(f"expected the coefficients {', '.join(names)}")
    digest, source, served_model = values["weights_sha256"], values.get("source", ""), values.get("served_model", "")
    if not all(isinstance(text, str) for text in (digest, source, served_model)):
        raise ValueError("a text is no text")
    coefficients = tuple(_number(weights[name]) for name in names)
    names = ("intercept", "min_confidence", "auroc", "calibration_error")
    numbers = {name: _number(values[name]) for name in names}
    questions = int(values["questions"])
    return Calibration(digest, coefficients, questions=questions, source=source, served_model=served_model, **numbers)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)

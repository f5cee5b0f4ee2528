"""Fits a `methods.confidence.Calibration` to the results of evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.result_lines import Results
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.run_folder import has_results, noted_settings
from reasonseg_ros.evaluation.scoring.selective import auroc, calibration_error
from reasonseg_ros.methods.confidence import Calibration, Signals
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.server.address import served_as
from reasonseg_ros.reasoner.vocabulary import Vocabulary
from reasonseg_ros.types import Status

Judged = tuple[Signals, bool, str]
"""The signals of an answer, whether it meant the right targets, and its image, by which folds are grouped."""

LEAST_OF_EACH = 20
FOLDS = 5


def read_examples(runs: Iterable[Path], vocabulary: Vocabulary | None = None) -> list[Judged]:
    """The answers of evaluations that have ground truth and an entropy. Raises InvalidInput if a run has no results."""
    examples = []
    for run in runs:
        found = (_example(result, str(run), vocabulary) for result in Results(run).values())
        examples += [example for example in found if example is not None]
    return examples


def served_model(runs: Iterable[Path], card: ModelCard) -> str:
    """The model name that these runs asked a server for; empty if none used a server. Runs without results are skipped.

    Raises InvalidInput if the settings of a run cannot be read, if a served run was of another card, or if the runs
    were not answered by the same model.
    """
    names = {run: _served_model(run, noted_settings(run), card) for run in runs if has_results(run)}
    if len(set(names.values())) > 1:
        listed = ", ".join(f"{run}: {name or 'weights loaded here'}" for run, name in names.items())
        raise InvalidInput(f"these runs were answered by different models ({listed}); calibrate the runs of each alone")
    return next(iter(names.values()), "")


def _served_model(run: Path, settings: Mapping[str, Any], card: ModelCard) -> str:
    try:
        reasoner, name = settings["parameters"]["reasoner"], str(settings["model_cards"]["reasoner"]["name"])
        if reasoner["backend"] != "server":
            return ""
        asked = str(reasoner.get("server_model", ""))
    except (AttributeError, KeyError, TypeError):  # an older run did not note it
        return ""
    if name != card.name:
        raise InvalidInput(f"{run} was answered by {name} on a server; add --model {name}")
    return served_as(card, asked)


def check_answered_by(runs: Iterable[Path], card: ModelCard, weights_sha256: str) -> None:
    """Raises InvalidInput for a run of another model or of other weights, or whose answers get no confidence.

    `weights_sha256` is empty for a model behind a server.
    """
    for run in runs:
        if not has_results(run):
            continue
        settings = noted_settings(run)
        if settings.get("method") == "llm_seg":
            raise InvalidInput(f"{run} was answered by llm_seg, whose answers have no confidence; leave it out")
        try:
            name = str(settings["model_cards"]["reasoner"]["name"])
        except (KeyError, TypeError):  # an older run did not note it
            continue
        answered = settings.get("reasoner_weights_sha256")
        is_known = bool(weights_sha256 and answered)
        if name != card.name and not is_known:
            raise InvalidInput(f"{run} was answered by {name}, not by {card.name}; add --model {name}, or leave it out")
        if is_known and answered != weights_sha256:
            raise InvalidInput(
                f"{run} was answered by other weights than those that are in {card.source} now; evaluate it again"
            )


def fit(
    examples: Sequence[Judged],
    weights_sha256: str,
    min_confidence: float = 0.5,
    served_model: str = "",
    max_lost: float | None = None,
) -> Calibration:
    """A logistic regression on the examples, scored by cross-validation over images.

    Args:
        weights_sha256, served_model: identify the reasoner that answered; one of them is empty.
        min_confidence: answers below this threshold are unsure.
        max_lost: instead, take the highest threshold that makes at most this share of the right answers unsure.

    Raises InvalidInput if there are too few right or wrong answers.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    right = np.array([is_right for _, is_right, _ in examples], bool)
    if min(int(right.sum()), int((~right).sum())) < LEAST_OF_EACH:
        raise InvalidInput(
            f"{int(right.sum())} right and {int((~right).sum())} wrong answers with an entropy; at least "
            f"{LEAST_OF_EACH} of each are needed: evaluate more questions with ground truth"
        )
    values: NDArray[np.float64] = np.array([signals.values for signals, _, _ in examples])
    images = [image for _, _, image in examples]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    held_out = cross_val_predict(
        pipeline, values, right, groups=images, cv=GroupKFold(min(FOLDS, len(set(images)))), method="predict_proba"
    )[:, 1].tolist()
    pipeline.fit(values, right)
    scaler, regression = pipeline[0], pipeline[1]
    coefficients = regression.coef_[0] / scaler.scale_
    return Calibration(
        weights_sha256,
        tuple(round(float(weight), 6) for weight in coefficients),
        round(float(regression.intercept_[0] - coefficients @ scaler.mean_), 6),
        min_confidence if max_lost is None else _threshold(held_out, right, max_lost),
        len(examples),
        round(auroc(held_out, right.tolist()) or 0.0, 4),
        round(calibration_error(held_out, right.tolist()) or 0.0, 4),
        f"logistic regression, {int((~right).sum())} of {len(right)} answers wrong",
        served_model,
    )


def _threshold(confidences: Sequence[float], right: NDArray[np.bool_], max_lost: float) -> float:
    """The highest threshold, to three decimals, with at most this share of the right answers below it."""
    ordered = np.sort(np.asarray(confidences)[right])
    if max_lost >= 1:
        return 1.0
    return math.floor(1000 * float(ordered[int(max_lost * len(ordered))])) / 1000


def _example(result: SampleResult, run: str, vocabulary: Vocabulary | None) -> Judged | None:
    status = Status(result.status)
    if result.score is None or result.entropy_nats is None or not (status.is_answer or status is Status.UNSURE):
        return None
    regions = result.regions
    signals = Signals(
        result.entropy_nats,
        len(result.groundings),
        not result.groundings,
        min((region["mask_score"] for region in regions), default=1.0),
        min((region["box_iou"] for region in regions), default=1.0),
        vocabulary.unknown_share(result.question) if vocabulary else 0.0,
    )
    return signals, result.score.right_target, f"{run}/{result.image}"

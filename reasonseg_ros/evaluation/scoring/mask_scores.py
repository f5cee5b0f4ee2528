"""Scores masks of any tool against their targets. Every name is counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasonseg_ros.bags.files import is_bag
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.targets import bag_targets
from reasonseg_ros.evaluation.scoring.failures import Failure, classify
from reasonseg_ros.evaluation.scoring.mask_files import (
    ReadActivation,
    TargetMask,
    activations_in,
    predictions_in,
    targets_in,
)
from reasonseg_ros.evaluation.scoring.metrics import SampleScore, score_sample, summarise
from reasonseg_ros.evaluation.scoring.repair import described, repair_gains, sweeps
from reasonseg_ros.evaluation.scoring.stand_ins import from_activation, from_mask
from reasonseg_ros.evaluation.scoring.video_metrics import FrameScore, score_frame, summarise_videos
from reasonseg_ros.faults import reason as why
from reasonseg_ros.types import BoolMask, Grounding

PROBLEMS = ("missing", "unreadable", "wrong_size", "not_parsed", "without_target", "target_unreadable")
"""Why a sample failed. For the first four its IoU counts 0; without a target it cannot be scored."""


@dataclass(frozen=True)
class MaskScore:
    """The scores and the failure type of a name with a target; `problem` if its prediction cannot be used."""

    name: str
    score: SampleScore
    failure: Failure
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        failure = {"failure": str(self.failure.type), "tags": self.failure.tags}
        known = {"name": self.name, "problem": self.problem, **asdict(self.score), **failure}
        return {**known, "measured": asdict(self.failure.measured)}


def score_masks(
    predictions: Path,
    targets: Path,
    protocol: str = "lisa",
    video: bool = False,
    on_problem: Callable[[str], None] = lambda line: None,
    progress: Callable[[list[str]], Iterable[str]] = iter,
    activations: Path | None = None,
    on_sample: Callable[[MaskScore], None] = lambda sample: None,
) -> dict[str, Any]:
    """The scores of a folder (or JSON file) of masks against another one, or against a bag, as plain values.

    `samples` is the number of names on either side, `scored` of those whose masks could be compared, `failed` of all
    the others. `problems` counts the failures by reason, and `on_problem` is called with a line for each.

    Failure types are derived from the box and the innermost point of each mask or, with a folder of `activations`, from
    the active areas of these maps. `without_activation` counts the names whose map is missing or damaged.

    With `video`, names are EXPRESSION/FRAME, and J, F and J&F are added. Raises InvalidInput if a folder is missing or
    empty, or if all targets consist of ignored pixels only.
    """
    said = predictions_in(predictions)
    true = bag_targets(targets) if is_bag(targets) else targets_in(targets)
    active = activations_in(activations) if activations else {}
    scores: list[SampleScore] = []
    failures: list[Failure] = []
    frames: dict[str, list[FrameScore]] = defaultdict(list)
    problems: Counter[str] = Counter()
    only_ignored = with_target = without_activation = 0
    for name in progress(sorted(said.keys() | true.keys())):
        target, prediction, problem, reason = _read(name, said.get(name), true.get(name))
        if problem:
            problems[problem] += 1
            on_problem(f"{name}: {reason}")
        if target is None:
            continue
        groundings = () if prediction is None else from_mask(prediction)
        if activations:
            try:
                groundings = _active(active.get(name), target.target.shape)
            except Exception as error:
                without_activation += 1
                on_problem(f"{name}: activation: {why(error)}; its type is derived from the mask")
        with_target += bool(target.target.any())
        only_ignored += target.ignore is not None and not target.target.any()
        try:
            score = score_sample(prediction, target.target, target.ignore, protocol)
            failure = classify(prediction, target.target, target.ignore, groundings)
        except MemoryError as error:
            problems["target_unreadable"] += not problem
            on_problem(f"{name}: it could not be scored: {why(error)}")
            continue
        on_sample(MaskScore(name, score, failure, problem))
        scores.append(score)
        failures.append(failure)
        if video:
            frames[name.rpartition("/")[0]].append(score_frame(prediction, target.target, target.ignore))
    if only_ignored:
        said_of = f"{only_ignored} targets hold only 0 and 255, and 255 is ignored"
        if not with_target and not is_bag(targets):
            raise InvalidInput(f"{targets}: {said_of}; no other target marks a pixel; save targets as 1")
        on_problem(f"note: {said_of}; if it is target, save it as 1")
    failed = sum(problems.values())
    summary = summarise(scores)
    videos = summarise_videos(frames) if video else {"intervals_95": {}}
    counts = {"samples": len(said.keys() | true.keys()), "failed": failed}
    return {
        **counts,
        "scored": counts["samples"] - failed,
        "problems": {problem: problems[problem] for problem in PROBLEMS},
        **({"without_activation": without_activation} if activations else {}),
        "protocol": protocol,
        **{key: value for key, value in summary.items() if key not in counts},
        **videos,
        "intervals_95": {**summary["intervals_95"], **videos["intervals_95"]},
        "failures": described(repair_gains([failure.type for failure in failures], [score.iou for score in scores])),
        "sweeps": sweeps([failure.measured for failure in failures]),
    }


def _active(read: ReadActivation | None, shape: tuple[int, ...]) -> tuple[Grounding, ...]:
    if read is None:
        raise InvalidInput("there is no map of this name")
    return from_activation(read(), (shape[1], shape[0]))


def _read(
    name: str, read_prediction: Callable[[], BoolMask | None] | None, read_target: Callable[[], TargetMask] | None
) -> tuple[TargetMask | None, BoolMask | None, str, str]:
    """Target, prediction, problem and its reason. The last two are empty if both masks can be compared."""
    if read_target is None:
        return None, None, "without_target", "there is no target of this name"
    try:
        target = read_target()
    except Exception as error:  # damaged files make a decoder raise nearly anything
        return None, None, "target_unreadable", f"target: {why(error)}"
    if read_prediction is None:
        return target, None, "missing", "there is no prediction of this name; it counts 0"
    try:
        prediction = read_prediction()
    except Exception as error:
        return target, None, "unreadable", f"prediction: {why(error)}; it counts 0"
    if prediction is None:
        return target, None, "not_parsed", "the prediction is null; it counts 0"
    if prediction.shape != target.target.shape:
        sizes = [" x ".join(map(str, mask.shape[::-1])) for mask in (prediction, target.target)]
        return target, None, "wrong_size", f"prediction of {sizes[0]} for a target of {sizes[1]} pixels; it counts 0"
    return target, prediction, "", ""

"""Masks that any tool made against their targets, every name counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.mask_files import TargetMask, predictions_in, targets_in
from reasonseg_ros.evaluation.metrics import SampleScore, score_sample, summarise
from reasonseg_ros.evaluation.video_metrics import FrameScore, score_frame, summarise_videos
from reasonseg_ros.types import BoolMask

PROBLEMS = ("missing", "unreadable", "wrong_size", "not_parsed", "without_target", "target_unreadable")
"""Why a sample failed. For the first four its IoU counts 0; without a target there is nothing to score it by."""


def score_masks(
    predictions: Path,
    targets: Path,
    protocol: str = "lisa",
    video: bool = False,
    on_problem: Callable[[str], None] = lambda line: None,
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> dict[str, Any]:
    """The scores of two folders (or JSON files) of masks, as plain values.

    `samples` is the number of names on either side, `scored` of those whose two masks could be compared, `failed` of
    all the others; `problems` says how many failed for which reason, and `on_problem` gets one line for each.
    With `video`, names are EXPRESSION/FRAME, and J, F and J&F are added. Raises InvalidInput where a folder is missing
    or empty.
    """
    said, true = predictions_in(predictions), targets_in(targets)
    scores: list[SampleScore] = []
    frames: dict[str, list[FrameScore]] = defaultdict(list)
    problems: Counter[str] = Counter()
    only_ignored = 0
    for name in progress(sorted(said.keys() | true.keys())):
        target, prediction, problem, reason = _read(name, said.get(name), true.get(name))
        if problem:
            problems[problem] += 1
            on_problem(f"{name}: {reason}")
        if target is None:
            continue
        only_ignored += target.ignore is not None and not target.target.any()
        scores.append(score_sample(prediction, target.target, target.ignore, protocol))
        if video:
            frames[name.rpartition("/")[0]].append(score_frame(prediction, target.target, target.ignore))
    if only_ignored:
        on_problem(
            f"note: {only_ignored} targets hold only 0 and 255, and 255 is ignored; if it is target, save it as 1"
        )
    failed = sum(problems.values())
    summary = summarise(scores)
    videos = summarise_videos(frames) if video else {"intervals_95": {}}
    counts = {"samples": len(said.keys() | true.keys()), "failed": failed}
    return {
        **counts,
        "scored": counts["samples"] - failed,
        "problems": {problem: problems[problem] for problem in PROBLEMS},
        "protocol": protocol,
        **{key: value for key, value in summary.items() if key not in counts},
        **videos,
        "intervals_95": {**summary["intervals_95"], **videos["intervals_95"]},
    }


def _read(
    name: str, read_prediction: Callable[[], BoolMask | None] | None, read_target: Callable[[], TargetMask] | None
) -> tuple[TargetMask | None, BoolMask | None, str, str]:
    """Target, prediction, problem and its reason; the last two empty where both masks can be compared."""
    if read_target is None:
        return None, None, "without_target", "there is no target of this name"
    try:
        target = read_target()
    except InvalidInput as error:
        return None, None, "target_unreadable", f"target: {error}"
    if read_prediction is None:
        return target, None, "missing", "there is no prediction of this name; it counts 0"
    try:
        prediction = read_prediction()
    except InvalidInput as error:
        return target, None, "unreadable", f"prediction: {error}; it counts 0"
    if prediction is None:
        return target, None, "not_parsed", "the prediction is null; it counts 0"
    if prediction.shape != target.target.shape:
        sizes = [" x ".join(map(str, mask.shape[::-1])) for mask in (prediction, target.target)]
        return target, None, "wrong_size", f"prediction of {sizes[0]} for a target of {sizes[1]} pixels; it counts 0"
    return target, prediction, "", ""

"""`reasonseg score`: masks that any tool made against their targets, the scores as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.mask_files import TargetMask, predictions_in, targets_in
from reasonseg_ros.evaluation.metrics import PROTOCOLS, SampleScore, score_sample, summarise
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
    counts = {"samples": len(said.keys() | true.keys()), "failed": failed}
    return {
        **counts,
        "scored": counts["samples"] - failed,
        "problems": {problem: problems[problem] for problem in PROBLEMS},
        "protocol": protocol,
        **{key: value for key, value in summary.items() if key not in counts},
        **(summarise_videos(frames) if video else {}),
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


def register(subparsers: Any) -> None:
    """Add the verb to the subparsers of a command line."""
    parser = subparsers.add_parser(
        "score",
        help="score masks made by anything",
        description="Score masks against targets of the same name and print JSON. Masks are PNG (0 is background; in a "
        "target 255 is ignored) or COCO run lengths in JSON: a file a mask, or one file of all names. A prediction "
        "that is missing, damaged or of another size counts 0. Exit status 1 where anything failed.",
    )
    parser.add_argument("--predictions", type=Path, required=True, metavar="DIR", help="folder, or one JSON file")
    parser.add_argument("--targets", type=Path, required=True, metavar="DIR", help="folder, or one JSON file")
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default=PROTOCOLS[0],
        help="lisa leaves ignored pixels out, seg_zero counts them as target (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--video", action="store_true", help="names are EXPRESSION/FRAME; adds J, F and J&F")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)

    def progress(names: list[str]) -> Iterable[str]:
        return track(names, description="Scoring", console=console, disable=not console.is_terminal)

    result = score_masks(
        arguments.predictions, arguments.targets, arguments.protocol, arguments.video,
        on_problem=lambda line: print(f"reasonseg: {line}", file=sys.stderr), progress=progress,
    )  # fmt: skip
    print(json.dumps(result, indent=2, ensure_ascii=False))
    return 1 if result["failed"] else 0

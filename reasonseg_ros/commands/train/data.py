"""`reasonseg train data`: writes questions with ground truth as training rows."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import fill_dependent, seed, share, whole_number
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.tabletop.questions.sentences import PHRASINGS

_MOST_LINES = 20
_BAG_DEFAULTS = {"points": 1, "kinds": (), "min_segmented_iou": None, "segmenter": None, "device": None}
_RENDERED_DEFAULTS = {"count": 1000, "phrasing": "train", "seed": 0}


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "data",
        help="write questions with ground truth as rows for `train grpo` and `train sft`",
        description="Write questions with ground truth as training rows. They come from bags (of a robot, the console, "
        "`reasonseg bag from-...`, `bag merge`, `tabletop` or `data`), or are new ones about rendered scenes. Unusable "
        "questions are left out and listed, and the exit status is 1.",
    )
    parser.add_argument("bags", type=Path, nargs="*", metavar="BAG", help="bags with ground truth")
    add_output(parser, "--out", "folder", required=True, help="folder of the rows and their images")
    parser.add_argument("--points", type=int, choices=(1, 2), help="points per target (Seg-Zero: 2; default: 1)")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="only these kinds of questions")
    parser.add_argument(
        "--min-segmented-iou", type=share, metavar="IOU",
        help="drop targets that the segmenter reproduces worse than this from box and point (VisionReasoner: 0.6)",
    )  # fmt: skip
    parser.add_argument("--segmenter", help="segmenter for --min-segmented-iou: model card, folder or hub id")
    parser.add_argument("--device", help="device of the segmenter, for example cpu or cuda:0")
    scenes = parser.add_argument_group("questions about rendered scenes or videos")
    scenes.add_argument("--scenes", type=Path, help="folder of `reasonseg train scenes`")
    scenes.add_argument("--videos", type=Path, help="folder of `reasonseg train videos`, for rewards of ReVSeg")
    scenes.add_argument(
        "--count", type=whole_number(1), help=f"number of rows (default: {_RENDERED_DEFAULTS['count']})"
    )
    scenes.add_argument("--phrasing", choices=PHRASINGS, help=f"(default: {_RENDERED_DEFAULTS['phrasing']})")
    scenes.add_argument("--seed", type=seed, help=f"(default: {_RENDERED_DEFAULTS['seed']})")
    parser.set_defaults(action=run)


def run(settings: argparse.Namespace) -> int:
    if sum(map(bool, (settings.bags, settings.scenes, settings.videos))) != 1:
        raise InvalidInput("name bags with ground truth, --scenes or --videos; exactly one of the three")
    fill_dependent(settings, bool(settings.bags), _BAG_DEFAULTS, "without a bag")
    fill_dependent(settings, not settings.bags, _RENDERED_DEFAULTS, "without --scenes or --videos")
    if settings.videos:
        from reasonseg_ros.training.rendered_video_rows import write_video_rows

        write_video_rows(settings.videos, settings.out, settings.count, settings.phrasing, settings.seed)
        return 0
    if settings.scenes:
        from reasonseg_ros.training.scene_rows import write_scene_rows

        write_scene_rows(settings.scenes, settings.out, settings.count, settings.phrasing, settings.seed)
        return 0
    from reasonseg_ros.training.bag_rows import write_bag_rows

    is_checked = settings.min_segmented_iou is not None
    if settings.segmenter and not is_checked:
        raise InvalidInput("--segmenter is used by --min-segmented-iou only")
    counts = write_bag_rows(
        settings.bags, settings.out, settings.points, settings.kinds,
        _segmenter(settings) if is_checked else None, settings.min_segmented_iou if is_checked else 0.0,
    )  # fmt: skip
    print(f"{counts.rows} rows with {counts.targets} targets about {counts.images} images")
    if is_checked:
        questions = f", and {counts.dropped_questions} questions without another target"
        print(f"dropped {counts.dropped_targets} targets that the segmenter does not reproduce{questions}")
    for line in counts.left_out[:_MOST_LINES]:
        print(f"left out: {line}", file=sys.stderr)
    if len(counts.left_out) > _MOST_LINES:
        print(f"left out: {len(counts.left_out) - _MOST_LINES} more", file=sys.stderr)
    return 1 if counts.left_out else 0


def _segmenter(settings: argparse.Namespace) -> Any:
    from reasonseg_ros.config import config_from
    from reasonseg_ros.segmenter.loading import load_segmenter

    chosen = {"segmenter.model": settings.segmenter, "segmenter.device": settings.device}
    return load_segmenter(config_from({name: value for name, value in chosen.items() if value}).segmenter)

"""`reasonseg train validate`: measures an exported reasoner on unseen questions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import fill_dependent, seed, whole_number
from reasonseg_ros.tabletop.questions.question import KINDS, PART_KIND, UNKNOWN_KIND
from reasonseg_ros.tabletop.questions.sentences import PHRASINGS

SCENE_QUESTIONS, VIDEO_QUESTIONS = 210, 180


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "validate",
        help="measure an exported reasoner",
        description="Ask an exported reasoner questions about rendered validation scenes, or about rendered videos.",
    )
    parser.add_argument("--model", type=Path, default=Path("models/tabletop/reasoner"), help="(default: %(default)s)")
    shown = parser.add_mutually_exclusive_group(required=True)
    shown.add_argument("--scenes", type=Path, help="folder of `reasonseg train scenes`")
    shown.add_argument("--videos", type=Path, help="folder of `reasonseg train videos`")
    parser.add_argument(
        "--count",
        type=whole_number(1),
        help=f"questions (default: {SCENE_QUESTIONS} on scenes, {VIDEO_QUESTIONS} on videos)",
    )
    parser.add_argument("--phrasing", choices=PHRASINGS, default="train", help="set of sentences")
    parser.add_argument("--seed", type=seed, default=7)
    parser.add_argument(
        "--kinds", nargs="+", choices=(*KINDS, PART_KIND, UNKNOWN_KIND), metavar="KIND",
        help=f"kinds of questions about scenes (default: {' '.join(KINDS)})",
    )  # fmt: skip
    parser.add_argument(
        "--show", type=whole_number(0), default=0, help="print up to this many wrong answers of each kind or event"
    )
    parser.set_defaults(action=run)


def run(settings: argparse.Namespace) -> None:
    fill_dependent(settings, not settings.videos, {"kinds": KINDS}, "with --videos")
    if settings.videos:
        from reasonseg_ros.training.reasoner.video_validation import validate_on_videos

        count = settings.count or VIDEO_QUESTIONS
        validate_on_videos(settings.model, settings.videos, count, settings.phrasing, settings.seed, settings.show)
        return
    from reasonseg_ros.training.reasoner.validation import validate_on_scenes

    count = settings.count or SCENE_QUESTIONS
    validate_on_scenes(
        settings.model, settings.scenes, count, settings.phrasing, settings.seed, settings.kinds, settings.show
    )

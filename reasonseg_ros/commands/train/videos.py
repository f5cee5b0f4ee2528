"""`reasonseg train videos`: render videos."""

from __future__ import annotations

import argparse
from typing import Any

from reasonseg_ros.commands.options import LEAST_RATE, number, whole_number
from reasonseg_ros.commands.train.scenes import add_rendering_options
from reasonseg_ros.training.rendered.videos import FRAMES, RATES_HZ


def register(verbs: Any) -> None:
    videos = verbs.add_parser("videos", help="render videos", description="Render tabletop videos for training.")
    add_rendering_options(videos)
    videos.add_argument(
        "--frames", type=whole_number(1), default=FRAMES, help="frames per video (default: %(default)s)"
    )
    videos.add_argument(
        "--rates", type=number(LEAST_RATE), nargs="+", default=RATES_HZ, metavar="HZ",
        help="frame rates that the videos take in turn (default: %(default)s)",
    )  # fmt: skip
    videos.set_defaults(action=run)


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.rendered.videos import render_videos

    first_seed, count = settings.seeds
    render_videos(first_seed, count, settings.out, settings.size, settings.frames, settings.rates)

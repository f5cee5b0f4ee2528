"""`reasonseg play`: plays a bag on real topics."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import LEAST_RATE, number


def register(verbs: Any) -> None:
    play = verbs.add_parser("play", help="play a bag on real topics")
    play.add_argument("bag", type=Path)
    play.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="only these topics")
    play.add_argument(
        "--rate", type=number(LEAST_RATE), default=1.0, help="speed relative to the recording (default: %(default)s)"
    )
    play.add_argument("--loop", action="store_true", help="start again at the end")
    play.add_argument("--restamp", action="store_true", help="replace stamps by the current time, keep differences")
    play.add_argument(
        "--delay", type=number(0, 3600), default=0.5, metavar="S",
        help="seconds to wait for subscribers before the first message (default: %(default)s)",
    )  # fmt: skip
    play.add_argument(
        "--hold", type=number(0), default=0.0, metavar="HZ",
        help="publish each image at this rate until the service /bag_player/next is called",
    )  # fmt: skip
    play.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    from reasonseg_ros.ros.playing.player import play

    return play(
        settings.bag, settings.topics, rate=settings.rate, loop=settings.loop, restamp=settings.restamp,
        hold_hz=settings.hold, delay_s=settings.delay,
    )  # fmt: skip

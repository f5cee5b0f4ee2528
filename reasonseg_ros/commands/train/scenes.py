"""`reasonseg train scenes`: render still scenes."""

from __future__ import annotations

import argparse
from typing import Any

from reasonseg_ros.commands.options import SeedRange, size_wh
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.training.rendered.scenes import SIZE_WH


def register(verbs: Any) -> None:
    scenes = verbs.add_parser("scenes", help="render still scenes", description="Render tabletop scenes for training.")
    add_rendering_options(scenes)
    scenes.set_defaults(action=run)


def add_rendering_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", action=SeedRange, required=True)
    parser.add_argument("--size", type=size_wh, default=SIZE_WH, metavar="WxH", help="pixels (default: 320x240)")
    add_output(parser, "--out", "folder", required=True, help="folder for the chunks")


def run(settings: argparse.Namespace) -> None:
    from reasonseg_ros.training.rendered.scenes import render_scenes

    first_seed, count = settings.seeds
    render_scenes(first_seed, count, settings.out, settings.size)

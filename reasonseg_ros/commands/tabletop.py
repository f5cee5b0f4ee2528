"""`reasonseg tabletop bag` and `reasonseg tabletop show`: bags and contact sheets of simulated scenes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import LEAST_RATE, fill_dependent, number, seed, size_wh, whole_number
from reasonseg_ros.faults import naming
from reasonseg_ros.files.outputs import IMAGE_ENDINGS, add_output
from reasonseg_ros.tabletop.questions.sentences import PHRASINGS

_VIDEO_DEFAULTS = {"rate": 8.0, "track": False}


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    tabletop = verbs.add_parser("tabletop", help="simulated tabletop scenes")
    kinds = tabletop.add_subparsers(title="verbs", metavar="VERB", required=True)

    bag = kinds.add_parser("bag", help="write an MCAP bag with images, questions and ground truth")
    _add_scene_options(bag, Path("out/tabletop"), "folder of the bag", "new_folder")
    bag.add_argument("--questions", type=whole_number(1), default=2, help="questions per scene (default: %(default)s)")
    bag.add_argument(
        "--kinds", nargs="+", default=[], metavar="KIND", help="kinds of questions, used in turn (default: all)"
    )
    bag.add_argument("--phrasing", choices=PHRASINGS, default="train", help="set of sentences for the questions")
    bag.add_argument(
        "--video", nargs="?", type=whole_number(1), const=24, default=0, metavar="FRAMES",
        help="write videos of FRAMES frames (without a number: %(const)s) with questions about what happened; --scenes "
        "is the number of videos",
    )  # fmt: skip
    bag.add_argument(
        "--rate", type=number(LEAST_RATE), metavar="HZ",
        help=f"frame rate of videos (default: {_VIDEO_DEFAULTS['rate']})",
    )  # fmt: skip
    bag.add_argument(
        "--track", action="store_true", default=None, help="with --video: also ask to track a target from its start"
    )
    bag.add_argument("--no-depth", action="store_true", help="omit depth images")
    bag.add_argument("--force", action="store_true", help="replace an existing bag")
    bag.set_defaults(action=_bag)

    show = kinds.add_parser("show", help="write a contact sheet of scenes with their questions")
    _add_scene_options(show, Path("out/tabletop.png"), "image file", "file", IMAGE_ENDINGS)
    show.set_defaults(action=_show)

    tabletop.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _add_scene_options(
    parser: argparse.ArgumentParser, out: Path, what: str, kind: str, endings: Sequence[str] = ()
) -> None:
    parser.add_argument("--seed", type=seed, required=True, help="seed of the first scene; later scenes count up")
    parser.add_argument("--scenes", type=whole_number(1), required=True, help="number of scenes")
    add_output(parser, "--out", kind, endings, default=out, help=f"{what} (default: %(default)s)")
    parser.add_argument("--size", type=size_wh, default="640x480", metavar="WxH", help="pixels (default: %(default)s)")


def _bag(settings: argparse.Namespace) -> None:
    from reasonseg_ros.tabletop.bag import BagPlan, write_bag
    from reasonseg_ros.tabletop.questions.question import KINDS
    from reasonseg_ros.tabletop.world import World

    fill_dependent(settings, bool(settings.video), _VIDEO_DEFAULTS, "without --video")
    if settings.video:
        _video_bag(settings)
        return
    plan = BagPlan(
        settings.seed, settings.scenes, settings.questions, tuple(settings.kinds) or KINDS, settings.phrasing,
        not settings.no_depth,
    )  # fmt: skip
    _write(write_bag(plan, World(settings.size), settings.out, settings.force), plan.scenes, settings.out)
    print(f"{settings.out}: {plan.scenes} scenes, up to {plan.questions} questions each")


def _video_bag(settings: argparse.Namespace) -> None:
    from reasonseg_ros.errors import InvalidInput
    from reasonseg_ros.tabletop.videos.bag import VideoBagPlan, write_video_bag
    from reasonseg_ros.tabletop.videos.temporal import check_phrasing
    from reasonseg_ros.tabletop.world import World

    if settings.kinds:
        raise InvalidInput("--kinds selects questions about still scenes; leave it out with --video")
    check_phrasing(settings.phrasing)
    plan = VideoBagPlan(
        settings.seed, settings.scenes, settings.questions, settings.video, settings.rate, settings.phrasing,
        not settings.no_depth, settings.track,
    )  # fmt: skip
    _write(write_video_bag(plan, World(settings.size), settings.out, settings.force), plan.videos, settings.out)
    print(f"{settings.out}: {plan.videos} videos of {plan.frames} frames, up to {plan.questions} questions each")


def _write(written: Iterable[int], total: int, out: Path) -> None:
    """Run the rendering generator with a progress bar. Errors name `out`."""
    from rich.progress import track

    with naming(out):
        for _ in track(written, description="Rendering", total=total):
            pass


def _show(settings: argparse.Namespace) -> None:
    from rich.progress import track

    from reasonseg_ros.images.files import write_image
    from reasonseg_ros.tabletop.bag import BagPlan, scene_questions
    from reasonseg_ros.tabletop.contact_sheet import contact_sheet, outlined
    from reasonseg_ros.tabletop.world import World

    plan = BagPlan(settings.seed, settings.scenes, 1)
    world = World(settings.size)
    images, captions = [], []
    for i in track(range(plan.scenes), description="Rendering"):
        scene = world.scene(plan.seed + i)
        kinds = [plan.kinds[(i + k) % len(plan.kinds)] for k in range(len(plan.kinds))]
        questions = scene_questions(scene, 1, kinds, plan.phrasing)
        masks = [scene.mask((target,)) for question in questions for target in question.targets]
        images.append(outlined(scene.rgb, masks))
        captions.append(" ".join(f"{q.kind}: {q.text} ({q.thought_text})" for q in questions))
    write_image(settings.out, contact_sheet(images, captions))
    print(settings.out)

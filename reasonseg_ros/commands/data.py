"""`reasonseg data`: a vision model writes reasoning questions about images with instance masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonseg_ros.commands.options import number, seed, share, whole_number
from reasonseg_ros.errors import InvalidInput, ServerError
from reasonseg_ros.faults import add_remedy, naming
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.plain_text import one_line

if TYPE_CHECKING:
    from reasonseg_ros.data_engine.pictures import SourcePicture
    from reasonseg_ros.data_engine.run import EnginePlan

SourceReader = Callable[[argparse.Namespace], Iterable["SourcePicture"]]
GO_ON = "received replies are kept; run the same command again to continue"


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    data = verbs.add_parser(
        "data",
        help="make reasoning questions with ground truth for images with instance masks",
        description="Have a vision model write questions about images with instance masks. Code checks the rules; a "
        "question that breaks one is requested again or dropped. Writes a bag per split for evaluate and train data.",
    )
    kinds = data.add_subparsers(title="verbs", metavar="VERB", required=True)

    coco = _add_source(kinds, "from-coco", "a COCO-style file with instances, and its images", _coco)
    coco.add_argument("file", type=Path, help="JSON file with images, annotations and categories")
    coco.add_argument("--images", nargs="+", type=Path, required=True, metavar="DIR", help="folders with the images")

    bag = _add_source(kinds, "from-bag", "bags with ground truth; the model names the objects", _bags)
    bag.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="bags, folders or files")

    masks = _add_source(kinds, "from-masks", "images with masks of segment-everything; the model names them", _masks)
    masks.add_argument("folder", type=Path, help="folder with X.jpg and X.json, as segment-everything --json writes it")

    write = kinds.add_parser(
        "bags",
        help="write the bags again after a review by hand, without requests",
        description="Write the bags of a run of `reasonseg data` again. After a review by hand (reasonseg console "
        "--review DIR), only accepted questions are written.",
    )
    add_output(write, "out", "folder", metavar="DIR", help="folder of the run")
    write.set_defaults(action=_write)
    data.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _add_source(verbs: Any, name: str, help_text: str, read: SourceReader) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help_text)
    add_output(
        parser, "--out", "folder", required=True, metavar="DIR", help="folder of the run; continues an existing one"
    )
    server = parser.add_argument_group("model")
    server.add_argument("--url", default="", help="base address of the server, for example http://127.0.0.1:8000/v1")
    server.add_argument("--model", default="", help="the server's name for the model")
    server.add_argument("--key-variable", default="", metavar="NAME", help="environment variable with the server's key")
    server.add_argument("--temperature", type=number(0, 10), default=0.7, metavar="T", help="(%(default)s)")
    server.add_argument(
        "--max-tokens", type=whole_number(16), default=1500, metavar="N", help="maximum tokens of a reply (%(default)s)"
    )
    server.add_argument(
        "--max-pixels", type=whole_number(10_000), default=1_003_520, metavar="N",
        help="maximum size of an image; larger ones are scaled down (default: %(default)s)",
    )  # fmt: skip
    server.add_argument(
        "--time-limit",
        type=number(0.1, 86400),
        default=120.0,
        metavar="S",
        help="time limit of a reply, seconds (default: %(default)s)",
    )
    server.add_argument(
        "--at-once", type=whole_number(1), default=4, metavar="N", help="parallel pictures (%(default)s)"
    )
    server.add_argument("--price-in", type=number(0), metavar="P", help="price per million prompt tokens, any currency")
    server.add_argument("--price-out", type=number(0), metavar="P", help="price per million reply tokens")
    parser.add_argument("--questions", type=whole_number(1), default=5, metavar="N", help="per picture (%(default)s)")
    parser.add_argument(
        "--tries", type=whole_number(1), default=3, metavar="N", help="maximum requests per step (%(default)s)"
    )
    parser.add_argument(
        "--words", type=whole_number(1), nargs=2, default=(4, 30), metavar=("LEAST", "MOST"),
        help="number of words in a question (default: 4 30)",
    )  # fmt: skip
    parser.add_argument(
        "--per-answer", type=whole_number(1), default=2, metavar="N",
        help="maximum questions of a picture with the same answer (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--alike", type=share, default=0.8, metavar="SHARE",
        help="share of equal words that makes two questions of a picture duplicates (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=whole_number(1), default=1, metavar="N",
        help="maximum pictures with the same question (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--categories", type=whole_number(1), default=2, metavar="N",
        help="minimum categories of a picture; others are left out (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--splits", nargs="+", default=[], metavar="NAME=SHARE", help="default: train=0.8 val=0.1 test=0.1"
    )
    parser.add_argument("--seed", type=seed, default=0, help="seed of the splits (default: %(default)s)")
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="only the first N pictures")
    parser.add_argument("--dry-run", action="store_true", help="show the prompts for the first picture; ask nothing")
    parser.set_defaults(action=_ask, read=read)
    return parser


def _coco(settings: argparse.Namespace) -> Iterable[SourcePicture]:
    from reasonseg_ros.data_engine.sources.coco import coco_pictures

    return coco_pictures(settings.file, settings.images)


def _bags(settings: argparse.Namespace) -> Iterable[SourcePicture]:
    from reasonseg_ros.data_engine.sources.bags import bag_pictures

    return bag_pictures(settings.bags)


def _masks(settings: argparse.Namespace) -> Iterable[SourcePicture]:
    from reasonseg_ros.data_engine.sources.everything import everything_pictures

    return everything_pictures(settings.folder)


def _plan(settings: argparse.Namespace) -> EnginePlan:
    from reasonseg_ros.data_engine.asking import Wishes
    from reasonseg_ros.data_engine.rules import Rules
    from reasonseg_ros.data_engine.run import EnginePlan
    from reasonseg_ros.data_engine.splits import SHARES, read_shares

    least_words, most_words = settings.words
    rules = Rules(least_words, most_words, settings.per_answer, settings.alike)
    wishes = Wishes(settings.questions, settings.tries, settings.categories, rules)
    shares = read_shares(settings.splits) if settings.splits else SHARES
    return EnginePlan(wishes, settings.at_once, settings.repeats, shares, settings.seed)


def _ask(settings: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from reasonseg_ros.data_engine.model import ServerModel, ServerOptions
    from reasonseg_ros.data_engine.run import EngineResult, run_engine
    from reasonseg_ros.data_engine.spending import Prices

    plan, prices = _plan(settings), Prices(settings.price_in, settings.price_out)
    pictures: Iterable[SourcePicture] = islice(settings.read(settings), settings.limit)
    if settings.dry_run:
        return _show(pictures, plan)
    if not settings.url:
        raise InvalidInput("no server; give its address with --url, or see the prompts with --dry-run")
    options = ServerOptions(
        settings.url, settings.model, settings.key_variable, settings.temperature, settings.max_tokens,
        settings.max_pixels, settings.time_limit,
    )  # fmt: skip
    model = ServerModel(options)
    known = list(pictures) if settings.read is not _bags else pictures
    console = Console(stderr=True)
    try:
        with naming(settings.out), Progress(console=console) as progress:
            task = progress.add_task("Asking", total=len(known) if isinstance(known, list) else None)

            def show(result: EngineResult) -> None:
                progress.update(task, completed=result.pictures)

            result = run_engine(known, model, plan, settings.out, show)
    except (ServerError, OSError, KeyboardInterrupt, SystemExit) as error:
        add_remedy(error, GO_ON)
        raise
    for problem in result.unfinished:
        print(one_line(f"no reply: {problem}"), file=sys.stderr)
    print("\n".join([str(settings.out), *result.lines(), result.spent.line(prices, result.spent_before)]))
    status = _write(settings) if result.questions else 1
    if not result.questions:
        print(f"no question is left; see {settings.out / 'rejected.jsonl'} for the reasons", file=sys.stderr)
    return 1 if result.unfinished else status


def _show(pictures: Iterable[SourcePicture], plan: EnginePlan) -> int:
    """The prompts for the first picture that can be read."""
    from dataclasses import replace

    from reasonseg_ros.data_engine.prompts import caption_words, question_words

    for source in pictures:
        try:
            picture = source.load()
        except InvalidInput as error:
            print(one_line(f"left out: {source.name}: {error}"), file=sys.stderr)
            continue
        width, height = picture.image.size_wh
        named = [replace(one, name=one.name or "<name>") for one in picture.objects]
        wishes = plan.wishes
        print(one_line(f"{source.name}: {width} x {height}, {len(named)} objects"))
        print(f"\n--- first request\n{caption_words(picture.objects)}")
        print(f"\n--- second request\n{question_words('<caption>', named, wishes.questions, wishes.rules)}")
        return 0
    raise InvalidInput("no picture can be read; see the reasons above")


def _write(settings: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from reasonseg_ros.data_engine.bags_out import lost_decisions, other_bags, write_bags

    if lost := lost_decisions(settings.out):
        stated = f"{lost} decisions are about questions that are gone, or have another answer or other targets now"
        print(f"{stated}; review with `reasonseg console --review {settings.out}`", file=sys.stderr)
    console = Console(stderr=True)
    with naming(settings.out), Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Writing", total=None)
        written = write_bags(settings.out, lambda done: progress.update(task, completed=done))
    for bag in written:
        for problem in bag.problems:
            print(one_line(f"left out: {problem}"), file=sys.stderr)
        print(f"{bag.path}: {bag.questions} questions about {bag.pictures} pictures")
    for path in other_bags(settings.out, written):
        print(one_line(f"not one of these splits: {path}; remove it if it is from an earlier run"), file=sys.stderr)
    return 1 if any(bag.problems for bag in written) else 0

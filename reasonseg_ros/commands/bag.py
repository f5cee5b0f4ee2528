"""`reasonseg bag`: converts published data sets to bags, merges bags, and shows the content of a bag."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import LEAST_RATE, number, whole_number
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.records import Item
from reasonseg_ros.faults import add_remedy, naming
from reasonseg_ros.files.outputs import add_output
from reasonseg_ros.plain_text import one_line

Reader = Callable[[argparse.Namespace], Sequence[Item]]
NOT_OPTIONS = ("run", "action", "read", "name_set", "outputs", "force", "restart")
"""Settings that do not change the result of a conversion."""


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    bag = verbs.add_parser("bag", help="convert published data sets to bags, merge bags, or show the content of a bag")
    kinds = bag.add_subparsers(title="verbs", metavar="VERB", required=True)

    reasonseg = _add_data_set(kinds, "from-reasonseg", "ReasonSeg: jpg and json files", _reasonseg, _reasonseg_set)
    reasonseg.add_argument("--split", default="val", help="train, val or test (default: %(default)s)")
    _add_all_texts(reasonseg)

    sgdr = _add_data_set(kinds, "from-sgdr", "ReasonSeg-SGDR: as ReasonSeg, with a kind of question", _sgdr)
    sgdr.add_argument("--split", default="test", help="folder to read (default: %(default)s)")
    _add_all_texts(sgdr)

    llm_seg = _add_data_set(kinds, "from-llmseg40k", "LLM-Seg40K: one JSON file per split", _llm_seg40k)
    llm_seg.add_argument("--split", default="validation", help="name of the JSON file (default: %(default)s)")
    _add_images(llm_seg)

    refcoco = _add_data_set(kinds, "from-refcoco", "RefCOCO, RefCOCO+ or RefCOCOg: refs and instances", _refcoco)
    refcoco.add_argument("--set", default="refcoco", help="refcoco, refcoco+ or refcocog (default: %(default)s)")
    refcoco.add_argument("--by", default="unc", help="author of the split: unc, google or umd (default: %(default)s)")
    refcoco.add_argument("--split", default="val", help="val, test, testA or testB (default: %(default)s)")
    _add_images(refcoco)

    parquet = _add_data_set(kinds, "from-parquet", "parquet files of Seg-Zero's evaluation", _parquet, _parquet_set)
    parquet.add_argument("--split", default="", help="only files whose names begin with this (default: all)")

    video = _add_data_set(kinds, "from-video", "ReasonVOS, ReVOS, MeViS or Ref-DAVIS17", _video, _video_set)
    video.add_argument("--split", default="", help="folder of the split, for example valid_u (default: none)")
    video.add_argument(
        "--rate", type=number(LEAST_RATE), default=10.0, metavar="HZ", help="frame rate (default: %(default)s)"
    )

    merge = kinds.add_parser(
        "merge",
        help="merge black boxes and bags with ground truth to one bag, for evaluate and replay",
        description="Merge black boxes and bags with ground truth to one bag for evaluate and replay. evaluate answers "
        "questions without ground truth, but does not score them. A bag that is damaged or has no questions is left "
        "out and listed, and the exit status is 1.",
    )
    add_output(merge, "out", "new_folder", metavar="OUT", help="folder of the new bag")
    merge.add_argument("bags", type=Path, nargs="+", metavar="IN", help="black boxes and bags, folders or files")
    merge.add_argument(
        "--truth", type=Path, metavar="DIR",
        help="masks for black boxes, named like their files: PNG (0: background, others: target) or COCO run lengths",
    )  # fmt: skip
    merge.add_argument("--image-topic", default="", metavar="TOPIC", help="needed where a bag has several cameras")
    merge.add_argument("--force", action="store_true", help="replace a bag that is there")
    merge.set_defaults(action=_merge)

    info = kinds.add_parser("info", help="show topics, counts, kinds, duration and damaged parts of a bag")
    info.add_argument("bag", type=Path)
    info.set_defaults(action=_info)

    bag.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int | None:
    status: int | None = settings.action(settings)
    return status


def _add_data_set(
    verbs: Any, name: str, help_text: str, read: Reader, name_set: Callable[[argparse.Namespace], str] = lambda _: ""
) -> argparse.ArgumentParser:
    """Add one converter. `name_set` gives the published split, for example `ReasonSeg val`; empty if unknown."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help_text)
    parser.add_argument("folder", type=Path, help="folder of the data set")
    add_output(parser, "--out", "new_folder", required=True, metavar="BAG", help="folder of the bag")
    parser.add_argument("--limit", type=whole_number(1), metavar="N", help="only the first N images, or videos")
    parser.add_argument("--force", action="store_true", help="replace a bag that is there")
    parser.add_argument("--restart", action="store_true", help="discard the finished parts of an interrupted run")
    parser.set_defaults(action=_convert, read=read, verb=name, name_set=name_set)
    return parser


def _add_all_texts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-texts", action="store_true", help="ask every text of a sample, not only the first")


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", nargs="+", type=Path, default=[], metavar="DIR", help="folders with the images")


def _reasonseg(settings: argparse.Namespace) -> Sequence[Item]:
    from reasonseg_ros.evaluation.datasets.reasonseg import reasonseg_items

    return reasonseg_items(settings.folder, settings.split, settings.all_texts)


def _reasonseg_set(settings: argparse.Namespace) -> str:
    return (
        "" if settings.all_texts else f"ReasonSeg {settings.split}"
    )  # published scores use the first text of a sample


def _sgdr(settings: argparse.Namespace) -> Sequence[Item]:
    from reasonseg_ros.evaluation.datasets.sgdr import sgdr_items

    return sgdr_items(settings.folder, settings.split, settings.all_texts)


def _llm_seg40k(settings: argparse.Namespace) -> Sequence[Item]:
    from reasonseg_ros.evaluation.datasets.llm_seg40k import llm_seg40k_items

    return llm_seg40k_items(settings.folder, settings.split, settings.images)


def _refcoco(settings: argparse.Namespace) -> Sequence[Item]:
    from reasonseg_ros.evaluation.datasets.refcoco import refcoco_items

    return refcoco_items(settings.folder, settings.set, settings.by, settings.split, settings.images)


def _parquet(settings: argparse.Namespace) -> Sequence[Item]:
    from reasonseg_ros.evaluation.datasets.seg_zero_parquet import parquet_items

    return parquet_items(settings.folder, settings.split)


def _parquet_set(settings: argparse.Namespace) -> str:
    """The split from the published folder's name. The file names do not tell: both splits have files `test-...`."""
    found = re.search(r"ReasonSeg[_-](val|test)\b", str(settings.folder.resolve()), re.IGNORECASE)
    return f"ReasonSeg {found[1].lower()}" if found else ""


def _video_set(settings: argparse.Namespace) -> str:
    from reasonseg_ros.evaluation.datasets.video import video_set

    return video_set(settings.folder, settings.split)


def _video(settings: argparse.Namespace) -> Sequence[Item]:
    from reasonseg_ros.evaluation.datasets.video import video_items

    if not 0.01 <= settings.rate <= 1000:
        raise InvalidInput(f"--rate {settings.rate}; expected 0.01 to 1000 frames per second")
    return video_items(settings.folder, settings.split)


def _convert(settings: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from reasonseg_ros.evaluation.datasets.conversion import Plan, parts_folder, write_dataset
    from reasonseg_ros.evaluation.datasets.records import limited

    if not settings.folder.exists():
        raise InvalidInput(f"there is no {settings.folder}; name the folder of the data set")
    items = limited(settings.read(settings), settings.limit)
    options = {name: value for name, value in vars(settings).items() if name not in NOT_OPTIONS}
    period_ns = round(1e9 / settings.rate) if "rate" in options else 10**9
    plan = Plan(repr(sorted(options.items())), settings.split, period_ns, settings.name_set(settings))
    console = Console(stderr=True)
    if parts_folder(settings.out).is_dir() and not settings.restart:
        console.print("Continuing an interrupted run")
    try:
        with naming(settings.out), Progress(console=console) as progress:
            task = progress.add_task("Converting", total=len(items))
            counts = write_dataset(
                items, plan, settings.out, settings.force, settings.restart,
                progress=lambda done: progress.update(task, completed=done),
            )  # fmt: skip
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if any(parts_folder(settings.out).glob("*.json")):
            add_remedy(error, "finished parts are kept; run the same command again to continue")
        raise
    for problem in counts.problems:
        print(one_line(f"left out: {problem}"), file=sys.stderr)
    print("\n".join([str(settings.out), *counts.lines()]))
    return 0 if counts.complete else 1


def _merge(settings: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from reasonseg_ros.evaluation.scoring.mask_files import predictions_in
    from reasonseg_ros.recording.merging import merge_bags

    if settings.truth is not None and not settings.truth.is_dir():
        raise InvalidInput(f"--truth {settings.truth} is no folder; name one with masks")
    truths = predictions_in(settings.truth) if settings.truth is not None else {}
    console = Console(stderr=True)
    with naming(settings.out), Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("Merging", total=len(settings.bags))
        merged = merge_bags(
            settings.bags, settings.out, settings.force, settings.image_topic, truths,
            on_done=lambda done: progress.update(task, completed=done),
        )  # fmt: skip
    for problem in merged.problems:
        print(one_line(f"left out: {problem}"), file=sys.stderr)
    print("\n".join([str(settings.out), *map(one_line, merged.lines())]))
    return 1 if merged.problems else 0


def _info(settings: argparse.Namespace) -> int:
    from reasonseg_ros.evaluation.reading.bag_info import bag_info

    info = bag_info(settings.bag)
    print("\n".join([str(settings.bag), *info.lines()]))
    return 0 if info.is_whole else 1

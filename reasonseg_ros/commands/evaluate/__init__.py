"""`reasonseg evaluate`: runs the node's method on bags without ROS, and scores it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonseg_ros.commands.evaluate.parameters import REFINE_STEPS, config_values
from reasonseg_ros.commands.evaluate.run_settings import run_settings
from reasonseg_ros.commands.evaluate.terminal import EvaluationProgress, print_summary
from reasonseg_ros.commands.options import fill_dependent, whole_number
from reasonseg_ros.config import METHODS
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.faults import add_remedy
from reasonseg_ros.files.outputs import add_output

if TYPE_CHECKING:
    from reasonseg_ros.config import Config
    from reasonseg_ros.evaluation.bag_messages import OnNote
    from reasonseg_ros.evaluation.pipeline import Pace
    from reasonseg_ros.evaluation.ray_cluster import RayCluster
    from reasonseg_ros.evaluation.reading.clips import Clip
    from reasonseg_ros.evaluation.run import AnswerItems
    from reasonseg_ros.evaluation.scoring.judging import Scoring
    from reasonseg_ros.methods.port import Method

METHOD = "seg_zero"
"""Differs from the node's default, because published scores use single images."""
AHEAD = 4
"""Default number of samples that are loaded and encoded while the reasoner runs."""


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("evaluate", help="answer the questions of bags without ROS, and score the answers")
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="folder or file; topics are found by type")
    add_output(parser, "--out", "folder", required=True, help="folder for results, summary and report")
    card = {"metavar": "CARD", "help": "model card, folder or hub id (default: the node's)"}
    parser.add_argument("--reasoner", "--model", dest="reasoner", **card)
    parser.add_argument("--segmenter", **card)
    parser.add_argument("--method", choices=tuple(METHODS), help=f"method (default: {METHOD})")
    parser.add_argument(
        "--protocol", choices=("lisa", "seg_zero"), default="lisa",
        help="lisa excludes ignored pixels, seg_zero counts them as target (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true",
        help="parse answers like the checkpoint's published scoring script; what that cannot parse counts 0",
    )  # fmt: skip
    parser.add_argument("--limit", type=whole_number(1), default=0, metavar="N", help="only the first N samples")
    parser.add_argument("--kinds", nargs="+", default=[], metavar="KIND", help="only questions of these kinds")
    parser.add_argument("--image-topic", default="", metavar="TOPIC", help="needed where a bag has several cameras")
    parser.add_argument(
        "--questions", type=Path, metavar="FILE", help="YAML of questions with times, for a bag without questions"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", dest="overrides",
        help="the node's parameters, for example reasoner.device=cuda reasoner.dtype=bfloat16",
    )  # fmt: skip
    parser.add_argument(
        "--refine", nargs="*", choices=("none", *REFINE_STEPS), metavar="STEP",
        help=f"refine masks by these steps only: {', '.join(REFINE_STEPS)}, or none; without a STEP, all of them "
        "(default: by the parameters)",
    )  # fmt: skip
    parser.add_argument("--no-counterfactual", action="store_true", help="do not also segment from the true boxes")
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=1, metavar="N",
        help="ask the reasoner N questions at once; rounding changes a few answers (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--ahead", type=whole_number(0), metavar="N",
        help=f"load and encode up to N samples while the reasoner runs; 0: one after the other (default: {AHEAD})",
    )  # fmt: skip
    parser.add_argument(
        "--ray", nargs="?", const="auto", metavar="ADDRESS",
        help="distribute the samples over a running Ray cluster (without an address: RAY_ADDRESS, or this "
        "machine's)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=whole_number(1), metavar="N",
        help="with --ray: number of worker processes (default: one per GPU or CPU of the cluster)",
    )  # fmt: skip
    parser.add_argument(
        "--consistency", action="store_true",
        help="also ask about mirrored, cropped, rescaled, darkened and compressed copies of each still, and compare "
        "the answers; needs no ground truth",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    from rich.console import Console

    from reasonseg_ros.config import config_from
    from reasonseg_ros.evaluation.bag_messages import read_bags
    from reasonseg_ros.evaluation.consistency_run import run_consistency
    from reasonseg_ros.evaluation.pipeline import Pace, answered
    from reasonseg_ros.evaluation.reading.questions import read_questions
    from reasonseg_ros.evaluation.reading.videos import with_videos
    from reasonseg_ros.evaluation.run import collect, finish
    from reasonseg_ros.evaluation.run_folder import begin
    from reasonseg_ros.evaluation.scoring.judging import Scoring
    from reasonseg_ros.injection.configured import configured_fault
    from reasonseg_ros.methods.loading import method_class
    from reasonseg_ros.reasoner.call import ignore

    values = {"method": METHOD, **config_values(settings)}
    config = config_from(values)
    questions = read_questions(settings.questions) if settings.questions else []
    sees_videos = method_class(config.method).sees_videos
    notes: dict[str, None] = {}

    def read(bags: Sequence[Path], on_note: OnNote) -> Generator[Clip, None, None]:
        max_age_s = config.query.image_max_age_s
        return read_bags(bags, settings.image_topic, settings.kinds, questions, sees_videos, on_note, max_age_s)

    if settings.consistency and (settings.ray or sees_videos):
        given = "--ray" if settings.ray else f"--method {config.method}"
        raise ConfigError(f"--consistency with {given}; it asks about single images in this process, leave one out")
    fill_dependent(settings, bool(settings.ray), {"workers": 0}, "without --ray")
    fill_dependent(settings, not settings.ray, {"ahead": AHEAD}, "with --ray")
    for bag in settings.bags:  # unusable bags are reported before models are loaded
        with closing(read([bag], ignore)) as clips:
            next(clips, None)
    described = run_settings(settings, values)
    command = shlex.join(["reasonseg", *sys.argv[1:]])
    begin(settings.out, described, settings.resume, command)
    console = Console(stderr=True)
    scoring = Scoring(settings.protocol, not settings.no_counterfactual)
    with _resumable(settings.out), ExitStack() as stack:
        with console.status("Loading models"):
            if settings.ray:
                answer: AnswerItems = stack.enter_context(_cluster(settings, config, scoring, console)).answered
            else:
                method = _method(settings, config)
                pace = Pace(settings.batch_size, settings.ahead)
                answer = partial(answered, method=method, scoring=scoring, pace=pace)
        stack.enter_context(configured_fault(config.faults, settings.out))
        clips = read(settings.bags, notes.setdefault)
        progress = stack.enter_context(EvaluationProgress(console, settings.limit))
        run = collect(with_videos(clips) if sees_videos else clips, answer, settings.out, settings.limit, progress.show)
        consistency = None
        if settings.consistency:
            again = read(settings.bags, notes.setdefault)
            consistency = run_consistency(again, settings.out, method, progress.tell)
    with _resumable(settings.out):
        found = finish(settings.out, run, described, command, list(notes), consistency)
    print_summary(found, settings.out)
    away = sum(row.asked_again for row in run.rows)
    if away:
        console.print(
            f"{away} questions failed because of memory, a server or a model; --resume asks them again", soft_wrap=True
        )
    # With a limit, questions of a kind may not have come yet.
    missing = [] if settings.limit else sorted({*settings.kinds} - {row.kind for row in run.rows})
    if missing or not run.samples:
        stated = f"no question of {', '.join(missing)}" if missing else "no question"
        console.print(f"the bag has {stated}; `reasonseg bag info` lists its kinds", markup=False, soft_wrap=True)
    return 1 if run.unreadable or away or missing or not run.rows else 0


@contextmanager
def _resumable(out: Path) -> Iterator[None]:
    """Add the remedy `--resume` to whatever ends the run: an error, Ctrl-C or a signal."""
    from reasonseg_ros.evaluation.run_folder import has_results

    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if has_results(out):
            add_remedy(error, f"the answers so far are in {out}; run the same command with --resume to continue")
        raise


def _method(settings: argparse.Namespace, config: Config) -> Method:
    """The loaded method, for a run in this process. Raises ConfigError if it cannot answer batches of that size."""
    from reasonseg_ros.evaluation.pipeline import Pace

    pace = Pace(settings.batch_size, settings.ahead)
    method = _loader(settings, config, pace)()
    if pace.batch_size > 1 and not method.reasoner.has_batches:
        stated = f"{config.method} with {method.reasoner.name} asks one question at a time"
        raise ConfigError(f"--batch-size {pace.batch_size}: {stated}; leave it out, or use seg_zero with a local model")
    return method


def _loader(settings: argparse.Namespace, config: Config, pace: Pace) -> Callable[[], Method]:
    """A loader of the method. Its segmenter caches the features of all images that are in the pipeline at `pace`.

    The counterfactual and later questions about an image reuse its features. If images are encoded ahead, the segmenter
    leaves one core to the reasoner.
    """
    from reasonseg_ros.evaluation.pipeline import images_on_their_way
    from reasonseg_ros.methods.loading import load_method

    kept = max(config.segmenter.kept_frames, images_on_their_way(pace))
    threads = config.segmenter.threads or (max(1, (os.cpu_count() or 1) - 1) if pace.most_ahead else 0)
    wide = replace(config, segmenter=replace(config.segmenter, kept_frames=kept, threads=threads))
    return partial(load_method, wide)


def _cluster(settings: argparse.Namespace, config: Config, scoring: Scoring, console: Any) -> RayCluster:
    from reasonseg_ros.evaluation.pipeline import Pace
    from reasonseg_ros.evaluation.ray_cluster import RayCluster

    pace = Pace(settings.batch_size)  # the cluster provides the parallelism
    return RayCluster(
        settings.ray,
        _loader(settings, config, pace),
        scoring,
        pace,
        workers=settings.workers,
        use_gpus=config.reasoner.device.startswith("cuda"),
        report=lambda line: console.print(line, markup=False, highlight=False),
    )

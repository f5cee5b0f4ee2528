"""The command line: `reasonseg VERB`. Heavy libraries are imported by the verb that needs them."""

from __future__ import annotations

import argparse
import importlib
import io
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import reasonseg_ros
from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.faults import told
from reasonseg_ros.files.outputs import add_output, check_outputs
from reasonseg_ros.plain_text import log_plainly

USAGE_ERROR = 2
PROGRAM_FAULT = 3
INTERRUPTED = 130

TRAINING = {
    "scenes": "rendered.scenes",
    "videos": "rendered.videos",
    "reasoner": "reasoner.run",
    "segmenter": "segmenter.run",
}
"""Modules of reasonseg_ros.training, each with a command line of its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status.

    0 is success, 1 a result that falls short, 2 wrong use or a known error (one line), 3 a fault of the program (one
    line that names a log file), 130 Ctrl-C. Files that cannot be written are told before any long work.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["train"] and arguments[1:2] and arguments[1] in TRAINING:
        # What follows is theirs to parse, --help included.
        command, settings = _train, argparse.Namespace(which=arguments[1], rest=arguments[2:])
    else:
        settings = _parser().parse_args(arguments)
        command = settings.run
    exit_on_termination()
    log_plainly()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names and thoughts in any script, on any terminal
            stream.reconfigure(errors="backslashreplace")
    try:
        check_outputs(settings)
        status = int(command(settings) or 0)
        sys.stdout.flush()  # so that a full disk behind a redirection is told here
        return status
    except KeyboardInterrupt as error:
        return _ended("interrupted", error, INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; nothing is left to be told
        return 1
    except (ReasonSegError, OSError, MemoryError) as error:
        return _ended(told(error), None, USAGE_ERROR)
    except Exception as error:
        return _ended(told(error), None, PROGRAM_FAULT)
    except SystemExit as error:
        if getattr(error, "remedy", ""):
            _ended("ended by a signal", error, 0)
        raise


def _ended(line: str, error: BaseException | None, status: int) -> int:
    remedy = getattr(error, "remedy", "")
    print(f"reasonseg: {line}{'; ' if remedy else ''}{remedy}", file=sys.stderr)
    return status


def exit_on_termination() -> None:
    """Have SIGTERM and SIGHUP raise SystemExit, which, unlike their default, lets every `finally` run."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup the second is ignored, and stays so
            signal.signal(number, leave)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reasonseg", description="Reasoning segmentation for ROS 2.")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_demo(verbs)
    importlib.import_module("reasonseg_ros.commands.ask").register(verbs)
    importlib.import_module("reasonseg_ros.commands.check_server").register(verbs)
    importlib.import_module("reasonseg_ros.commands.parse").register(verbs)
    importlib.import_module("reasonseg_ros.commands.evaluate").register(verbs)
    importlib.import_module("reasonseg_ros.commands.bag").register(verbs)
    importlib.import_module("reasonseg_ros.commands.score").register(verbs)
    importlib.import_module("reasonseg_ros.commands.compare").register(verbs)
    importlib.import_module("reasonseg_ros.commands.engine").register(verbs)
    _add_play(verbs)
    _add_tabletop(verbs)
    importlib.import_module("reasonseg_ros.commands.export").register(verbs)
    train = verbs.add_parser("train", help="render scenes, and train the embedded checkpoints on them")
    train.add_argument("which", choices=tuple(TRAINING), help="each has its own --help")
    train.set_defaults(run=_train)
    version = verbs.add_parser("version", help="print the versions of this package and of what it runs on")
    version.set_defaults(run=_version)
    return parser


def _add_demo(verbs: Any) -> None:
    demo = verbs.add_parser("demo", help="ask the real node about a bag that is played on real topics")
    demo.add_argument("--bag", type=Path, help="bag with questions and ground truth; default: the one shipped")
    add_output(demo, "--out", "folder", default=Path("out/demo"), help="where results go (default: %(default)s)")
    demo.add_argument("--params", type=Path, help="the node's parameter file; default: config/reasonseg.yaml")
    demo.add_argument("--model", help="reasoner: model card, folder or hub id")
    demo.add_argument("--segmenter", help="segmenter: model card, folder or hub id")
    demo.add_argument("--min-giou", type=float, default=0.7, help="least mean IoU for success (default: %(default)s)")
    demo.set_defaults(run=_demo)


def _demo(settings: argparse.Namespace) -> int:
    from reasonseg_ros.demo.run import run_demo

    models = {"reasoner.model": settings.model, "segmenter.model": settings.segmenter}
    overrides = {name: value for name, value in models.items() if value}
    return run_demo(settings.bag, settings.out, settings.params, overrides, settings.min_giou)


def _add_play(verbs: Any) -> None:
    play = verbs.add_parser("play", help="play a bag on real topics")
    play.add_argument("bag", type=Path)
    play.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="only these")
    play.add_argument("--rate", type=float, default=1.0, help="times as fast as recorded (default: %(default)s)")
    play.add_argument("--loop", action="store_true", help="begin again at the end")
    play.add_argument("--restamp", action="store_true", help="stamps of now, as far apart as recorded")
    play.add_argument(
        "--hold", type=float, default=0.0, metavar="HZ",
        help="publish each image so many times a second until the service /bag_player/next asks for the next one",
    )  # fmt: skip
    play.set_defaults(run=_play)


def _play(settings: argparse.Namespace) -> int:
    if settings.rate <= 0 or settings.hold < 0:
        raise InvalidInput(f"--rate {settings.rate} --hold {settings.hold}; the rate must be above 0, hold not below")
    from reasonseg_ros.ros.player import play

    return play(
        settings.bag, settings.topics, rate=settings.rate, loop=settings.loop, restamp=settings.restamp,
        hold_hz=settings.hold,
    )  # fmt: skip


def _add_tabletop(verbs: Any) -> None:
    from reasonseg_ros.commands import tabletop as command

    command.register(verbs)


def _train(settings: argparse.Namespace) -> int:
    module = importlib.import_module(f"reasonseg_ros.training.{TRAINING[settings.which]}")
    return int(module.main(settings.rest) or 0)


def _version(_: argparse.Namespace) -> None:
    from reasonseg_ros.versions import versions

    print(f"reasonseg_ros {reasonseg_ros.__version__}")
    for name, version in versions().items():
        print(f"  {name} {version}")


if __name__ == "__main__":
    sys.exit(main())

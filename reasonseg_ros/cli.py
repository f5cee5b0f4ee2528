"""The command line: `reasonseg VERB`. Heavy libraries are imported by the verb that needs them."""

from __future__ import annotations

import argparse
import functools
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

try:
    from reasonseg_ros.commands import (
        ask,
        bag,
        console,
        data,
        demo,
        doctor,
        evaluate,
        mcp,
        play,
        replay,
        segment_everything,
        tabletop,
        train,
        version,
    )
    from reasonseg_ros.commands.checkpoints import calibrate, check_server, engine, export, models, parse
    from reasonseg_ros.commands.options import check_stated
    from reasonseg_ros.commands.scoring import compare, score, score_text
    from reasonseg_ros.errors import ReasonSegError
    from reasonseg_ros.faults import error_line
    from reasonseg_ros.files.outputs import check_outputs
    from reasonseg_ros.files.standard_streams import open_standard_streams
    from reasonseg_ros.plain_text import log_plainly
except KeyboardInterrupt:  # imports take seconds on a busy machine
    print("reasonseg: interrupted", file=sys.stderr)
    raise SystemExit(130) from None

USAGE_ERROR = 2
PROGRAM_FAULT = 3
INTERRUPTED = 130
ROS_REMEDY = "this needs ROS 2: source its setup.bash and the workspace's, or run `make setup` in a checkout"

VERBS = (
    demo, ask, segment_everything, console, mcp, doctor, models, check_server, parse, evaluate, bag, score,
    score_text, compare, calibrate, replay, engine, play, tabletop, export, train, data, version,
)  # fmt: skip
"""In the order of `--help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status.

    0 is success, 1 an insufficient result, 2 wrong use or a known error (one line), 3 a bug (one line that names a log
    file), 130 Ctrl-C. Outputs that cannot be written are reported before any long work.
    """
    try:
        open_standard_streams()
        settings = _parser().parse_args(argv)
        exit_on_termination()
        log_plainly()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # any script on any terminal
                stream.reconfigure(errors="backslashreplace")
        check_stated(sys.argv[1:] if argv is None else argv)
        check_outputs(settings)
        status = int(settings.run(settings) or 0)
        sys.stdout.flush()  # reports a full disk behind a redirection here
        return status
    except KeyboardInterrupt as error:
        return _ended("interrupted", error, INTERRUPTED)
    except BrokenPipeError:  # the reader is gone
        _drop_unwritten()
        return 1
    except (ReasonSegError, OSError, MemoryError) as error:
        _drop_unwritten()
        return _ended(error_line(error), None, USAGE_ERROR)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and is_of_ros(error.name or ""):
            return _ended(f"no Python module {error.name!r}; {ROS_REMEDY}", None, USAGE_ERROR)
        return _ended(error_line(error), None, PROGRAM_FAULT)
    except SystemExit as error:
        if getattr(error, "remedy", ""):
            _ended("ended by a signal", error, 0)
        raise


def _drop_unwritten() -> None:
    """Drop what stdout holds and cannot write. Python would try again when it exits, and replace the exit status."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_of_ros(module: str) -> bool:
    """Whether a module comes with ROS 2 or with this package's build: absent if only the rest is installed."""
    top, _, rest = module.partition(".")
    ours = top == "reasonseg_ros" and rest.partition(".")[0] in ("msg", "srv", "action")
    return ours or top in ("rclpy", "tf2_ros", "builtin_interfaces", "std_srvs") or top.endswith("_msgs")


def _ended(line: str, error: BaseException | None, status: int) -> int:
    remedy = getattr(error, "remedy", "")
    print(f"reasonseg: {line}{'; ' if remedy else ''}{remedy}", file=sys.stderr)
    return status


def exit_on_termination() -> None:
    """Make SIGTERM and SIGHUP raise SystemExit, so that every `finally` runs."""

    def leave(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP; keep that
            signal.signal(number, leave)


@functools.cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reasonseg", description="Reasoning segmentation for ROS 2.")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb.register(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())

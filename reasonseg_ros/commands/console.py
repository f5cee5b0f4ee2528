"""`reasonseg console`: a running node in the browser, with its corrections saved as ground truth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import LEAST_RATE, node_name, number, ros_name, whole_number
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.outputs import add_output


def register(verbs: Any) -> None:
    parser = verbs.add_parser("console", help="ask and correct a running node in the browser")
    parser.add_argument("--name", type=node_name, default="/reasonseg", help="the node's name (default: %(default)s)")
    parser.add_argument(
        "--host", default="127.0.0.1",
        help="address to listen on; any but the loopback address needs the printed token (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=whole_number(0, 65535), default=8090, help="port; 0: a free one (default: %(default)s)"
    )
    add_output(
        parser, "--truth", "folder", default=Path("out/console/truth"),
        help="bag for saved ground truth (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--review",
        type=Path,
        metavar="DIR",
        help="folder of a run of `reasonseg data`, to accept or reject its questions",
    )
    parser.add_argument("--image-topic", type=ros_name, default="", metavar="TOPIC", help="default: the node's")
    parser.add_argument("--depth-topic", type=ros_name, default="", metavar="TOPIC", help="default: the node's")
    parser.add_argument("--camera-info-topic", type=ros_name, default="", metavar="TOPIC", help="default: the node's")
    parser.add_argument(
        "--rate", type=number(LEAST_RATE), default=10.0, metavar="HZ", help="maximum rate of live images (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    try:
        from reasonseg_ros.console.options import ConsoleOptions
        from reasonseg_ros.console.run import run_console
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("starlette", "uvicorn", "websockets"):
            raise InvalidInput(f"no Python module {error.name!r}; pip install 'reasonseg_ros[console]'") from error
        raise
    options = ConsoleOptions(
        node_name="/" + settings.name.strip("/"),
        host=settings.host,
        port=settings.port,
        truth=settings.truth,
        review=settings.review,
        image_topic=settings.image_topic,
        depth_topic=settings.depth_topic,
        camera_info_topic=settings.camera_info_topic,
        frame_hz=settings.rate,
    )
    return run_console(options, sys.stdout)

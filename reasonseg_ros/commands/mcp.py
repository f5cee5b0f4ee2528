"""`reasonseg mcp`: serves a running node as tools for language-model agents."""

from __future__ import annotations

import argparse
from typing import Any

from reasonseg_ros.commands.options import node_name, number, ros_name, whole_number
from reasonseg_ros.errors import InvalidInput


def register(verbs: Any) -> None:
    mcp = verbs.add_parser(
        "mcp",
        help="offer a running node to language-model agents, over the Model Context Protocol",
        description="Serve the tools ask, look, follow, prompt and what_happened of a running node on standard input "
        "and output. An agent's client starts this command; see docs/agents.md.",
    )
    mcp.add_argument("--name", type=node_name, default="/reasonseg", help="the node's name (default: %(default)s)")
    mcp.add_argument(
        "--image", type=ros_name, default="/image", metavar="TOPIC", help="camera topic for look (default: %(default)s)"
    )
    mcp.add_argument(
        "--wait",
        type=number(0, 86400),
        default=10.0,
        metavar="S",
        help="seconds to wait for the node (default: %(default)s)",
    )
    mcp.add_argument(
        "--limit", type=number(1, 86400), default=120.0, metavar="S",
        help="seconds until a question is cancelled (default: %(default)s)",
    )  # fmt: skip
    mcp.add_argument(
        "--per-minute", type=whole_number(1), default=30, help="maximum calls per minute (default: %(default)s)"
    )
    mcp.add_argument(
        "--side",
        type=whole_number(64, 4096),
        default=1024,
        help="longer side of pictures, pixels (default: %(default)s)",
    )
    mcp.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    try:
        from reasonseg_ros.agent.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "pydantic"):
            raise
        raise InvalidInput(f"no Python module {error.name!r}; run `pip install 'reasonseg_ros[mcp]'`") from error
    from reasonseg_ros.agent.call_rate import CallRate
    from reasonseg_ros.agent.link import connected

    rate = CallRate(settings.per_minute)
    with connected(settings.name, settings.image, settings.wait, settings.limit) as link:
        serve(link, rate, settings.side)
    return 0

"""`reasonseg check-server`: checks that the reasoner answers, with boxes in the coordinates of its model card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput


def register(verbs: Any) -> None:
    check = verbs.add_parser(
        "check-server",
        help="ask a server (or a local model) about a picture with known answers",
        description="Ask the reasoner about a picture with known answers, and compare the boxes. Exit status: 0 "
        "all are right, 1 one is wrong or missing, 2 wrong settings.",
    )
    check.add_argument("--url", help="base address of the server, for example http://127.0.0.1:8000/v1")
    check.add_argument("--model", help="model card, folder or hub id")
    check.add_argument("--served-as", metavar="NAME", help="the server's name for the model, if different")
    check.add_argument("--key-variable", metavar="NAME", help="environment variable with the server's key")
    check.add_argument("--local", action="store_true", help="check the model in this process instead of a server")
    check.add_argument("--params", type=Path, metavar="FILE", help="the node's parameter file; options take precedence")
    check.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", dest="overrides",
        help="the node's parameters, for example reasoner.dialect=qwen3-vl",
    )  # fmt: skip
    check.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    from reasonseg_ros.commands.options import set_values
    from reasonseg_ros.config import check_names, config_from
    from reasonseg_ros.config.parameter_file import read_parameters
    from reasonseg_ros.plain_text import one_line
    from reasonseg_ros.reasoner.known_picture import check_configured
    from reasonseg_ros.reasoner.loading import load_reasoner
    from reasonseg_ros.reasoner.server.address import completions_url

    if settings.local and (settings.url or settings.key_variable or settings.served_as):
        raise InvalidInput(
            "--local with --url, --served-as or --key-variable; a local model has no server: leave it out"
        )
    options = {
        "--local": {"reasoner.backend": "local" if settings.local else None},
        "--model": {"reasoner.model": settings.model},
        "--url": {"reasoner.server_url": settings.url},
        "--served-as": {"reasoner.server_model": settings.served_as},
        "--key-variable": {"reasoner.server_key_variable": settings.key_variable},
    }
    chosen = set_values(settings.overrides, options)
    check_names(chosen)
    if unused := [name for name in chosen if not name.startswith("reasoner.")]:
        raise InvalidInput(f"--set {', '.join(unused)} has no effect on the reasoner; leave it out")
    values = read_parameters(settings.params) if settings.params else {}
    values |= {"reasoner.backend": "server", **chosen}
    reasoner = config_from({name: value for name, value in values.items() if name.startswith("reasoner.")}).reasoner
    if reasoner.backend == "server":
        completions_url(reasoner.server_url)  # refuses an address with a password before it is printed
    where = reasoner.server_url if reasoner.backend == "server" else "this process"
    print(one_line(f"{reasoner.model} in {reasoner.dialect} dialect, {where}"))
    result = check_configured(load_reasoner(reasoner), reasoner)
    for found in result.found:
        print(f"{'right' if found.is_right else 'WRONG'}  {one_line(str(found))}")
    print(one_line(result.text))
    return 0 if result.is_right else 1

"""`reasonseg version`: the versions of this package and its dependencies."""

from __future__ import annotations

import argparse
from typing import Any

import reasonseg_ros


def register(verbs: Any) -> None:
    version = verbs.add_parser("version", help="print the versions of this package and its dependencies")
    version.set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    from reasonseg_ros.versions import versions

    print(f"reasonseg_ros {reasonseg_ros.__version__}")
    for name, version in versions().items():
        print(f"  {name} {version}")

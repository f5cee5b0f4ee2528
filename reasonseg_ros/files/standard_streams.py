"""Makes sure that the standard streams are open."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 on the null device if they are closed, as by `2>&-` or a service without a console.

    Otherwise the next opened files would get these numbers, and output of libraries to stderr would go into results.
    """
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            # It gets this number, the lowest free one.
            os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115

"""Standard streams that are open, whatever started the process."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Open descriptors 0, 1 and 2 on nothing where they are closed, as by `2>&-` or a service without a console.

    Else the next files to be opened get these numbers, and what libraries write to standard error goes into a result.
    """
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is this one.
            os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115

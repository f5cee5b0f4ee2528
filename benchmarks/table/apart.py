"""Rows that fail alone: a failure becomes a row with the reason, and the following rows are still measured."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.results import Row

START_S = 120.0
"""Extra time for a new process, which imports its libraries first. After it, or the first row, SILENCE_S applies."""
SILENCE_S = 3600.0
"""Maximum time without a row; then the group is ended. Exporting and building the largest takes minutes."""


def attempted(name: str, rows: Callable[[], Iterator[Row]]) -> Iterator[Row]:
    """The rows, and after a failure a row that says so."""
    try:
        yield from rows()
    except Exception as error:  # a library may raise anything, and the other rows are still measured
        traceback.print_exc()
        yield broken_off(name, f"{type(error).__name__}: {error}")


def apart(
    name: str, make: Callable[..., Iterator[Row]], *arguments: Any, silence_s: float = SILENCE_S
) -> Iterator[Row]:
    """The rows of `make(*arguments)`, made in a separate process.

    A library that aborts, or a GPU fault after which the process cannot continue, ends only this group. Its memory is
    free for the next one. `make` is a function of a module.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, name, make, arguments))
    process.start()
    sender.close()
    try:
        limit_s = max(START_S, silence_s)
        while receiver.poll(limit_s):
            yield receiver.recv()
            limit_s = silence_s
        yield broken_off(name, f"no row came for {silence_s / 60:.0f} minutes")
    except EOFError:
        process.join()
        if process.exitcode:
            yield broken_off(name, f"its process ended with {_ending(process.exitcode)}")
    finally:
        process.terminate()
        process.join(30)
        process.kill()
        process.join()


def broken_off(name: str, reason: str) -> Row:
    return Row(f"{name}: not measured further", "", note=reason)


def _send(sender: Connection, name: str, make: Callable[..., Iterator[Row]], arguments: tuple[Any, ...]) -> None:
    for row in attempted(name, partial(make, *arguments)):
        sender.send(row)


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name

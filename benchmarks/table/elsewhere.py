"""Measures in a separate process, because thread pools of several libraries disturb each other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.timing import cpu_seconds


class Elsewhere:
    """Runs the function that `make(*arguments)` returns, one call at a time, in a new process, as a context manager.

    `make` is a function of a module. Arguments and results are pickled. Errors of the process are raised here.

    Attributes:
        cpu_s: CPU time of the last call.
    """

    def __init__(self, make: Callable[..., Callable[..., Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.cpu_s = 0.0

    def __enter__(self) -> Elsewhere:
        self._receive()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(10)
        self._process.kill()

    def __call__(self, *values: Any) -> Any:
        self._pipe.send(values)
        result, self.cpu_s = self._receive()
        return result

    def _receive(self) -> Any:
        found = self._pipe.recv()
        if isinstance(found, BaseException):
            raise found
        return found


def _serve(pipe: Connection, make: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...]) -> None:
    try:
        way = make(*arguments)
        pipe.send(None)
        while True:
            values = pipe.recv()
            start_s = cpu_seconds()
            result = way(*values)
            pipe.send((result, cpu_seconds() - start_s))
    except EOFError:
        return
    except Exception as error:
        pipe.send(error)

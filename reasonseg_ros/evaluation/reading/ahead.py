"""Works ahead in a thread while earlier results are still in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Queue
from typing import Any, TypeVar

from reasonseg_ros.reasoner.call import ignore

T = TypeVar("T")
R = TypeVar("R")

STOP_POLL_S = 0.05


def ahead(items: Iterable[T], work: Callable[[T], R], most: int, on_close: Callable[[], None] = ignore) -> Iterator[R]:
    """The results of `work` for each item, in order, from a thread that is up to `most` results ahead.

    With `most` 0 there is no thread. The items are iterated in that thread too, so stages can be chained. Errors of
    `items` or `work` are raised in place of the result. When this iterator is closed, also by Ctrl-C, `on_close` is
    called, which may cut the work short; then the thread ends after its current item.
    """
    if most < 1:
        yield from map(work, items)
        return
    results: Queue[tuple[str, Any]] = Queue(most)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(results, items, work, stopped), name=f"ahead-{_name(work)}")
    thread.start()
    try:
        while True:
            kind, value = results.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        on_close()
        while thread.is_alive():
            try:  # the thread may wait for a free slot in the queue
                results.get(timeout=STOP_POLL_S)
            except Empty:
                continue
        thread.join()


def _fill(
    results: Queue[tuple[str, Any]], items: Iterable[T], work: Callable[[T], R], stopped: threading.Event
) -> None:
    iterator = iter(items)
    try:
        for item in iterator:
            if stopped.is_set():
                break
            results.put(("result", work(item)))
        last: tuple[str, Any] = ("end", None)
    except BaseException as error:  # every error must reach the consumer
        last = ("error", error)
    end(iterator)
    results.put(last)


def end(items: Iterable[Any]) -> None:
    """Close `items` if it is a generator, so that the thread behind it ends."""
    close = getattr(items, "close", None)
    if close is not None:
        close()


def _name(work: Callable[..., Any]) -> str:
    return str(getattr(getattr(work, "func", work), "__name__", "work"))

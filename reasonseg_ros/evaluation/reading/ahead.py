"""Work that is done ahead, in a thread, while the results before it are still being used."""

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
    """`work` of each item, in order, by a thread that is up to `most` results ahead. 0: no thread, one at a time.

    The items are taken in that thread too, so that such stages can follow one another. What `items` or `work` raise
    is raised where its result would have come. When this iterator is closed, the thread ends after the item it is at.
    Before that wait, on Ctrl-C too, the thread's `on_close` is called, which may cut the work short.
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
            try:  # the thread may wait for room
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
    except BaseException as error:  # whatever it is, the one who waits must hear of it
        last = ("error", error)
    end(iterator)
    results.put(last)


def end(items: Iterable[Any]) -> None:
    """Close a generator, so that where its items are worked on ahead their thread ends. Others are left as they are."""
    close = getattr(items, "close", None)
    if close is not None:
        close()


def _name(work: Callable[..., Any]) -> str:
    return str(getattr(getattr(work, "func", work), "__name__", "work"))

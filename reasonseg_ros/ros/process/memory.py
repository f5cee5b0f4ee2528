"""How the node's process uses memory: what is freed goes back to the system, and what stays is not gone through."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_S = 10.0
LATE_PERIODS = 2
"""After models were let go of, so often everything is looked at again."""
M_TRIM_THRESHOLD, KEPT_BYTES = -1, 256 * 2**20
M_MMAP_THRESHOLD, LARGE_BYTES = -3, 32 * 2**20
M_ARENA_MAX, HEAPS = -8, 2


@contextmanager
def made_to_stay() -> Iterator[None]:
    """Around what loads the model libraries: Python's garbage collector rests, and leaves out what was made by the end.

    They make some 700,000 objects. The collector would go through all of them again and again: for a fifth of the time
    that loading takes, and later for 0.3 s, in which nothing else runs, in the middle of a question. Once they are no
    longer needed, `let_go` has it look at them again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def let_go() -> None:
    """Collect what was made to stay and is no longer used.

    Models are rings of objects: left uncollected they would be made to stay for good with those that are loaded next.
    Questions that end just then still hold them, so `give_back_regularly` does the same again a little later.
    """
    gc.unfreeze()
    gc.collect()
    _late.periods = LATE_PERIODS


class _Late:
    periods = 0
    """Of `give_back_regularly`, in which it is to look at what was made to stay as well."""


_late = _Late()


def resident_mb() -> float | None:
    """Memory of this process that is in use, 10^6 bytes; None on a system without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def give_back_regularly() -> None:
    """Give unused memory back to the system every PERIOD_S, from a separate thread, and at no other time.

    Reference cycles are collected first. Python's own collector looks at old objects only after their number has grown
    by a quarter, and the models count among them: images and masks would wait for minutes.

    Memory that comes from the system is slow to touch first: with blocks of an image's size given back as soon as they
    are freed, taking an image of 1280 x 720 takes 5 ms instead of 1, and a question a third more CPU time. Memory
    that is never given back grows, because images of several sizes and threads tear glibc's heaps to pieces. By
    default glibc makes eight heaps a core, and what one thread frees is not used by another.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        return  # it is not glibc
    library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    library.mallopt(M_ARENA_MAX, HEAPS)
    threading.Thread(target=_repeat, args=(library.malloc_trim,), name="reasonseg memory", daemon=True).start()


def _repeat(trim: Callable[[int], int]) -> None:
    while True:
        time.sleep(PERIOD_S)
        if gc.isenabled():  # not while models are loaded
            is_late = _late.periods > 0
            if is_late:
                _late.periods -= 1
                gc.unfreeze()
            gc.collect()
            if is_late:
                gc.freeze()
        trim(0)  # without Python's lock

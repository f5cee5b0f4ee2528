"""How the node's process uses memory: freed memory is returned to the system, and the collector skips the models."""

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
"""Periods after the release of models in which frozen objects are collected as well."""
M_TRIM_THRESHOLD, KEPT_BYTES = -1, 256 * 2**20
M_MMAP_THRESHOLD, LARGE_BYTES = -3, 32 * 2**20
M_ARENA_MAX, HEAPS = -8, 2


@contextmanager
def frozen_models() -> Iterator[None]:
    """Pause Python's garbage collector while models load, then freeze all objects, so that it skips them.

    The model libraries create some 700,000 objects. Scanning them again and again would take a fifth of the loading
    time, and later 0.3 s in the middle of a question, in which nothing else runs. Call `release_models` when the models
    are no longer needed.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def release_models() -> None:
    """Unfreeze and collect the objects of models that are no longer used.

    Models contain reference cycles. Without this, they would be frozen for good together with the next models.
    Questions that are just ending may still refer to them, so `trim_regularly` repeats this a little later.
    """
    gc.unfreeze()
    gc.collect()
    _late.periods = LATE_PERIODS


class _Late:
    periods = 0
    """Remaining periods in which `trim_regularly` collects frozen objects as well."""


_late = _Late()


def resident_mb() -> float | None:
    """Memory of this process that is in use, 10^6 bytes; None on a system without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def trim_regularly() -> None:
    """Return unused memory to the system every PERIOD_S, from a separate thread, and at no other time.

    Reference cycles are collected first. Python's automatic collector scans old objects only after their number has
    grown by a quarter, and the models count among them. Images and masks would wait for minutes.

    New memory from the system is slow on first touch. If blocks of an image's size were returned as soon as they are
    freed, receiving an image of 1280 x 720 would take 5 ms instead of 1, and a question a third more CPU time. If
    memory is never returned, it grows, because images of several sizes and several threads fragment glibc's heaps. By
    default glibc creates eight heaps per core, and one thread does not reuse what another one frees.
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

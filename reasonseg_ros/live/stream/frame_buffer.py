"""The last seconds of a stream of images, for late answers and for questions about what happened."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reasonseg_ros.live.stream.stamps import Stamps, Step
from reasonseg_ros.types import Frame

_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False)
class Arrival:
    """An image as it arrived. `load` decodes it and may raise InvalidInput; `size_bytes` is its size in the buffer.

    `load_image` skips depth and calibration, which take time and count their faults; None if `load` skips them too.
    """

    stamp_ns: int
    size_bytes: int
    load: Callable[[], Frame]
    load_image: Callable[[], Frame] | None = None


class FrameBuffer:
    """Holds at most `max_s` seconds and `max_bytes` of the newest images, oldest first out. Thread-safe.

    The newest image is always held; the others are at least 1 / `max_hz` seconds apart. An image whose stamp is not
    newer than the newest one's is not kept. A stamp that goes far back, or several that go back,
    mean that the stream restarted, like a looping bag: all earlier images are dropped.
    """

    def __init__(self, max_s: float, max_bytes: int, max_hz: float = float("inf")) -> None:
        self.max_s = max_s
        self.max_hz = max_hz
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._arrivals: deque[Arrival] = deque()
        self._size_bytes = 0
        self._restarts = 0
        self._stamps = Stamps()

    def add(self, arrival: Arrival) -> bool:
        """False if the stamp repeats or goes back a little, and the image is not kept."""
        with self._lock:
            step = self._stamps.step(arrival.stamp_ns)
            if step is Step.BEHIND:
                return False
            if step is Step.RESTART:
                self._drop_all()
            if len(self._arrivals) > 1 and (arrival.stamp_ns - self._arrivals[-2].stamp_ns) * self.max_hz < 1e9:
                self._size_bytes -= self._arrivals.pop().size_bytes
            self._arrivals.append(arrival)
            self._size_bytes += arrival.size_bytes
            oldest_ns = arrival.stamp_ns - int(self.max_s * 1e9)
            # The newest one stays, however large.
            while len(self._arrivals) > 1 and (
                self._size_bytes > self.max_bytes or self._arrivals[0].stamp_ns < oldest_ns
            ):
                self._size_bytes -= self._arrivals.popleft().size_bytes
            return True

    def after(self, stamp_ns: int) -> list[Arrival]:
        """Every image newer than `stamp_ns`, oldest first."""
        with self._lock:
            return [arrival for arrival in self._arrivals if arrival.stamp_ns > stamp_ns]

    def between(self, first_ns: int, last_ns: int) -> list[Arrival]:
        """Every image from `first_ns` to `last_ns`, oldest first."""
        with self._lock:
            return [arrival for arrival in self._arrivals if first_ns <= arrival.stamp_ns <= last_ns]

    def sample(self, count: int, last_s: float) -> list[Arrival]:
        """At most `count` images, evenly spaced over the last `last_s` seconds, including the newest, oldest first."""
        with self._lock:
            if not self._arrivals:
                return []
            first_ns = self._arrivals[-1].stamp_ns - int(last_s * 1e9)
            return thinned([arrival for arrival in self._arrivals if arrival.stamp_ns >= first_ns], count)

    def clear(self) -> None:
        with self._lock:
            self._stamps.forget()
            self._drop_all()

    @property
    def restarts(self) -> int:
        """How often the stream restarted. Answers from before a restart cannot be propagated to the newest image."""
        return self._restarts

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def __len__(self) -> int:
        return len(self._arrivals)

    def _drop_all(self) -> None:
        self._arrivals.clear()
        self._size_bytes = 0
        self._restarts += 1


def thinned(items: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` of `items`, evenly spaced; always the last one, and the first one if `count` allows."""
    if len(items) <= count:
        return list(items)
    if count <= 1:
        return [items[-1]]
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]

"""Pairs each image with the depth image of about the same stamp, as message_filters does.

message_filters is not among the ROS packages on PyPI, and it never releases an image whose partner does not come. Here
an image waits for its depth for a limited time and is then used without it. No ROS types.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import Generic, TypeVar

from reasonseg_ros.live.stream.stamps import RESTART_NS

Image = TypeVar("Image")
Depth = TypeVar("Depth")

QUEUE_SIZE = 10
"""Maximum number of waiting images and of kept depth images."""
MAX_MISSES = 10
"""After this number of consecutive images whose depth came too late, the next images do not wait."""


REUSE_S = 1.0
"""Stamps that repeat match again and again, also after depth has stopped. A depth image that was paired is paired again
only for images that came within this time and the tolerance after it."""


@dataclass(frozen=True, eq=False)
class Pair(Generic[Image, Depth]):
    """An image with its depth (None if missing); `lag_s` is how late the last depth image arrived."""

    image: Image
    depth: Depth | None
    lag_s: float


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Image]):
    stamp_ns: int
    image: Image
    since_s: float


@dataclass(eq=False)
class _Depth(Generic[Depth]):
    stamp_ns: int
    depth: Depth
    came_s: float
    is_paired: bool = False


class Synchroniser(Generic[Image, Depth]):
    """Receives both streams as they arrive, and returns the images in their order, each exactly once.

    Args:
        tolerance_s: stamps that differ by no more than this belong together; less than half the camera's period, so
        that the match is unique.
        wait_s: longest time that an image waits for its depth, once there was any; 0 for depth that arrives first.

    `now_s` is of a steady clock. Use it from one thread.
    """

    def __init__(self, tolerance_s: float, wait_s: float) -> None:
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._wait_s = wait_s
        self._waiting: deque[_Waiting[Image]] = deque()
        self._gone: deque[_Waiting[None]] = deque(maxlen=QUEUE_SIZE)
        self._reuse_s = tolerance_s + REUSE_S
        self._depths: deque[_Depth[Depth]] = deque(maxlen=QUEUE_SIZE)
        self._misses = 0
        self._lag_s = 0.0

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def add_image(self, stamp_ns: int, image: Image, now_s: float) -> list[Pair[Image, Depth]]:
        """Add an image. Returns the pairs that are complete or have waited long enough."""
        self._waiting.append(_Waiting(stamp_ns, image, now_s))
        return self._complete(now_s)

    def add_depth(self, stamp_ns: int, depth: Depth, now_s: float) -> list[Pair[Image, Depth]]:
        """Add a depth image. Returns the pairs that are complete now."""
        # In the order of arrival, so that the first depth images of a restarted stream are not dropped first.
        known = [item for item in self._depths if item.stamp_ns != stamp_ns and item.stamp_ns <= stamp_ns + RESTART_NS]
        self._depths = deque([*known, _Depth(stamp_ns, depth, now_s)], maxlen=QUEUE_SIZE)
        for late in self._gone:
            if abs(late.stamp_ns - stamp_ns) <= self._tolerance_ns:
                self._lag_s = now_s - late.since_s
                if self._lag_s <= self._wait_s:  # waiting makes sense again
                    self._misses = 0
        return self._complete(now_s)

    def begin_again(self, stamp_ns: int, now_s: float) -> list[Pair[Image, Depth]]:
        """The stream restarts at that stamp. Returns the images that still waited for depth of the earlier one."""
        pairs = []
        while self._waiting:
            first = self._waiting.popleft()
            pairs.append(Pair(first.image, self._taken(self._nearest(first)), now_s - first.since_s))
        self._gone.clear()
        # The last ones to come may be of the new stream already.
        newest_first = list(takewhile(lambda item: item.stamp_ns <= stamp_ns + RESTART_NS, reversed(self._depths)))
        self._depths = deque(reversed(newest_first), maxlen=QUEUE_SIZE)
        return pairs

    def overdue(self, now_s: float) -> list[Pair[Image, Depth]]:
        """The images that have waited long enough. Call it regularly while `is_waiting`."""
        return self._complete(now_s)

    def _complete(self, now_s: float) -> list[Pair[Image, Depth]]:
        pairs: list[Pair[Image, Depth]] = []
        while self._waiting:
            first = self._waiting[0]
            nearest = self._nearest(first)
            if nearest is None and self._is_worth_waiting(first, now_s):
                break
            self._waiting.popleft()
            if nearest is not None:
                self._misses, self._lag_s = 0, now_s - first.since_s
            else:
                self._misses += 1
                self._gone.append(_Waiting(first.stamp_ns, None, first.since_s))
            pairs.append(Pair(first.image, self._taken(nearest), self._lag_s))
        return pairs

    def _nearest(self, image: _Waiting[Image]) -> _Depth[Depth] | None:
        def away_ns(depth: _Depth[Depth]) -> int:
            return abs(depth.stamp_ns - image.stamp_ns)

        near = [item for item in self._depths if away_ns(item) <= self._tolerance_ns]
        usable = [item for item in near if not item.is_paired or image.since_s - item.came_s <= self._reuse_s]
        return min(usable, key=away_ns, default=None)

    @staticmethod
    def _taken(depth: _Depth[Depth] | None) -> Depth | None:
        if depth is None:
            return None
        depth.is_paired = True
        return depth.depth

    def _is_worth_waiting(self, first: _Waiting[Image], now_s: float) -> bool:
        # Depth images come in order: after a newer one, the image's depth will not come any more.
        has_passed = any(self._tolerance_ns < item.stamp_ns - first.stamp_ns <= RESTART_NS for item in self._depths)
        return (
            bool(self._depths)
            and self._misses < MAX_MISSES
            and now_s - first.since_s < self._wait_s
            and len(self._waiting) <= QUEUE_SIZE
            and not has_passed
        )

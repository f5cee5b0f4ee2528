"""A cache of values computed from the last images."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from reasonseg_ros.types import RgbImage

T = TypeVar("T")


class ImageMemory(Generic[T]):
    """A thread-safe LRU cache with values for at most `images` images and `max_bytes`.

    Images are identified by object identity, so they must not be modified. The cache holds a reference to each image,
    so that no other image gets its id.
    """

    def __init__(self, images: int, max_bytes: float = float("inf")) -> None:
        self.images = images
        self.max_bytes = max_bytes
        self._kept: OrderedDict[int, tuple[RgbImage, T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, rgb: RgbImage) -> T | None:
        with self._lock:
            if id(rgb) not in self._kept:
                return None
            self._kept.move_to_end(id(rgb))
            return self._kept[id(rgb)][1]

    def put(self, rgb: RgbImage, value: T, size_bytes: int = 0) -> None:
        """Cache `value`, and replace an earlier one. A value larger than `max_bytes` is not cached."""
        with self._lock:
            self._kept.pop(id(rgb), None)
            self._kept[id(rgb)] = rgb, value, size_bytes
            while len(self._kept) > self.images or self._size_bytes() > self.max_bytes:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()

    def _size_bytes(self) -> int:
        return sum(size_bytes for _, _, size_bytes in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

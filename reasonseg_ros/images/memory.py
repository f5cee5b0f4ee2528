"""What was made of the last images, kept for whoever comes with the same image again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from reasonseg_ros.types import RgbImage

T = TypeVar("T")


class ImageMemory(Generic[T]):
    """Holds values of at most `images` images and `max_bytes`, the least lately used first out. Thread-safe.

    An image is known by its identity, so it must not be drawn on in between. It is held with its value, so that no
    other image gets its id.
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
        """Keep `value`, or replace the one that is kept. One that is larger than all the memory is not kept."""
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

"""A cache of serialised camera messages, so that an answer can be shown on the image it belongs to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

DEPTH_TOLERANCE_NS = 50_000_000
"""Maximum difference between the stamps of an image and its depth image."""
DEPTH_SHARE = 0.5
"""Share of the memory for depth images."""


@dataclass(frozen=True, eq=False)
class RawMessage:
    """A serialised message (CDR) that begins with a header. `kind` is its type, such as `sensor_msgs/msg/Image`."""

    kind: str
    stamp_ns: int
    data: bytes


@dataclass(frozen=True, eq=False)
class Shot:
    """One image, with the depth image and the calibration of its time where they are known."""

    image: RawMessage
    depth: RawMessage | None = None
    camera_info: RawMessage | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.image.data) + (len(self.depth.data) if self.depth else 0)


class ImageCache:
    """The newest images and depth images, at most `most_bytes` together. From any thread."""

    def __init__(self, most_bytes: float) -> None:
        self._lock = threading.Lock()
        self._images = _Recent(most_bytes * (1 - DEPTH_SHARE))
        self._depths = _Recent(most_bytes * DEPTH_SHARE)

    def add_image(self, image: RawMessage) -> None:
        with self._lock:
            self._images.add(image)

    def add_depth(self, depth: RawMessage) -> None:
        with self._lock:
            self._depths.add(depth)

    def newest(self) -> Shot | None:
        """The image that arrived last; None before the first."""
        with self._lock:
            image = self._images.last()
        return None if image is None else self.with_depth(Shot(image))

    def at(self, stamp_ns: int) -> Shot | None:
        """The image with exactly that stamp; None if it is not cached."""
        with self._lock:
            image = self._images.messages.get(stamp_ns)
        return None if image is None else self.with_depth(Shot(image))

    def with_depth(self, shot: Shot) -> Shot:
        """The shot with the nearest depth image within DEPTH_TOLERANCE_NS, if one has arrived."""
        if shot.depth is not None:
            return shot
        with self._lock:
            near = [(abs(stamp_ns - shot.image.stamp_ns), stamp_ns) for stamp_ns in self._depths.messages]
            gap_ns, stamp_ns = min(near, default=(DEPTH_TOLERANCE_NS + 1, 0))
            return replace(shot, depth=self._depths.messages[stamp_ns] if gap_ns <= DEPTH_TOLERANCE_NS else None)


class _Recent:
    """The newest messages, by stamp. A message replaces an earlier one with the same stamp."""

    def __init__(self, most_bytes: float) -> None:
        self.messages: OrderedDict[int, RawMessage] = OrderedDict()
        self._most_bytes = most_bytes
        self._size_bytes = 0

    def add(self, message: RawMessage) -> None:
        self._drop(message.stamp_ns)
        self.messages[message.stamp_ns] = message
        self._size_bytes += len(message.data)
        while self._size_bytes > self._most_bytes and len(self.messages) > 1:
            self._drop(next(iter(self.messages)))

    def last(self) -> RawMessage | None:
        return next(reversed(self.messages.values()), None)

    def _drop(self, stamp_ns: int) -> None:
        old = self.messages.pop(stamp_ns, None)
        self._size_bytes -= 0 if old is None else len(old.data)

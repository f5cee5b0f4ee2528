"""Camera messages of the last seconds, as they came, until the answer about one of them is known."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

DEPTH_TOLERANCE_NS = 50_000_000
"""A depth image of an image is at most so far away in time."""
DEPTH_SHARE = 0.5
"""Of the memory, for depth images."""


@dataclass(frozen=True, eq=False)
class RawMessage:
    """A message that begins with a header, serialised (CDR). `kind` is its type, `sensor_msgs/msg/Image`."""

    kind: str
    stamp_ns: int
    data: bytes


@dataclass(frozen=True, eq=False)
class Shot:
    """One image with the depth image and the calibration of its time, if they are known."""

    image: RawMessage
    depth: RawMessage | None = None
    camera_info: RawMessage | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.image.data) + (len(self.depth.data) if self.depth else 0)


class KeptImages:
    """The last images and depth images, within `most_bytes`. From any thread."""

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
        """The image that came last."""
        with self._lock:
            image = self._images.last()
        return None if image is None else self.with_depth(Shot(image))

    def at(self, stamp_ns: int) -> Shot | None:
        """The image of exactly that stamp; None if it is not kept."""
        with self._lock:
            image = self._images.messages.get(stamp_ns)
        return None if image is None else self.with_depth(Shot(image))

    def with_depth(self, shot: Shot) -> Shot:
        """The same, with its depth image if that has come."""
        if shot.depth is not None:
            return shot
        with self._lock:
            near = [(abs(stamp_ns - shot.image.stamp_ns), stamp_ns) for stamp_ns in self._depths.messages]
            gap_ns, stamp_ns = min(near, default=(DEPTH_TOLERANCE_NS + 1, 0))
            return replace(shot, depth=self._depths.messages[stamp_ns] if gap_ns <= DEPTH_TOLERANCE_NS else None)


class _Recent:
    """Messages by their stamp. One that is repeated takes the place of the old one."""

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

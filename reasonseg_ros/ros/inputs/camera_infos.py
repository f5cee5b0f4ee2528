"""The camera_info topic: which of the received messages belongs to an image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from reasonseg_ros.live.stream.stamps import RESTART_NS
from reasonseg_ros.ros.inputs.input_topic import InputTopic
from reasonseg_ros.space.calibration import UnusableCalibration, same_frame
from reasonseg_ros.stamps import header_stamp_ns

KEPT_INFOS = 300
"""10 s at 30 Hz. The message of an image often comes after the image, and a question may come even later."""
FIRST_WAIT_S = 0.5
"""The first message, latched or sent with each image, comes within this time after its publisher was found."""


@dataclass(frozen=True, eq=False)
class KnownInfo:
    """A message, and whether it is valid until the next one: a latched message, or one without a stamp, has no age."""

    message: CameraInfo
    stamp_ns: int
    is_lasting: bool


class CameraInfos:
    """Subscribes the topic `name` while it lives. The executor's thread receives messages; any thread may read them.

    A volatile subscription matches every publisher, but only a transient_local one gets messages from before the node's
    start. The second one is created only if a latched publisher exists, because volatile publishers would log a
    warning.
    """

    def __init__(
        self,
        node: Node,
        reliability: str = "auto",
        depth: int = 5,
        post: Callable[[Callable[[], None]], None] | None = None,
        name: str = "camera_info",
    ) -> None:
        self._node = node
        self._publishers = 0
        self._recent: tuple[KnownInfo, ...] = ()
        self._latched: tuple[KnownInfo, ...] = ()
        self._has_any = threading.Event()
        self._awaited_until_s = 0.0
        self.input = InputTopic(node, CameraInfo, name, self._on_info, reliability, depth, post)
        self._latched_subscription: Subscription | None = None

    def look_for_latched(self) -> None:
        """Subscribe once more if a publisher keeps messages for late subscribers. For the executor's thread."""
        publishers = self._node.count_publishers(self.topic)
        if publishers > self._publishers:
            self._awaited_until_s = time.monotonic() + FIRST_WAIT_S
        is_changed, self._publishers = publishers != self._publishers, publishers
        if is_changed:
            self.input.follow_publishers()
        if self._latched_subscription is not None or not is_changed:
            return
        offered = [info.qos_profile.durability for info in self._node.get_publishers_info_by_topic(self.topic)]
        if DurabilityPolicy.TRANSIENT_LOCAL in offered:
            qos = QoSProfile(
                depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
            )
            self._latched_subscription = self._node.create_subscription(CameraInfo, self.topic, self._on_latched, qos)

    @property
    def topic(self) -> str:
        return self.input.topic

    def destroy(self) -> None:
        self.input.destroy()
        if self._latched_subscription is not None:
            self._node.destroy_subscription(self._latched_subscription)

    def begin_again(self, stamp_ns: int) -> None:
        """The stream restarted at that stamp: drop messages of the earlier one, except lasting ones."""
        # The last ones to come may be of the new stream already.
        limit_ns = stamp_ns + RESTART_NS
        newest_first = takewhile(lambda info: info.is_lasting or info.stamp_ns <= limit_ns, reversed(self._recent))
        self._recent = tuple(newest_first)[::-1]
        if not self._recent and not self._latched:  # the new stream's first one may come after its image, as at first
            self._has_any.clear()
            self._awaited_until_s = time.monotonic() + FIRST_WAIT_S

    def await_first(self) -> None:
        """Wait if none came since its publisher was found or the stream began again: it may come after an image.

        For a thread that does not spin the node.
        """
        self._has_any.wait(max(0.0, self._awaited_until_s - time.monotonic()))

    def near(self, stamp_ns: int) -> tuple[KnownInfo, ...]:
        """The current messages that an image of that stamp may need."""
        nearest = min(self._recent, key=lambda info: abs(info.stamp_ns - stamp_ns), default=None)
        return (*([] if nearest is None else [nearest]), *self._latched)

    def _on_info(self, message: CameraInfo) -> None:
        stamp_ns = header_stamp_ns(message.header)
        came = KnownInfo(message, stamp_ns, stamp_ns == 0)
        if came.is_lasting:
            before = []  # valid until the next one
        else:
            before = [info for info in self._recent if not info.is_lasting and info.stamp_ns != stamp_ns]
        self._recent = (*before, came)[-KEPT_INFOS:]
        self._has_any.set()

    def _on_latched(self, message: CameraInfo) -> None:
        self._latched = (KnownInfo(message, header_stamp_ns(message.header), True),)
        self._has_any.set()


def info_of_image(
    infos: Sequence[KnownInfo], stamp_ns: int, frame_id: str, size_wh: tuple[int, int], max_age_s: float
) -> CameraInfo:
    """The message that belongs to an image: the nearest in time. A lasting one counts as at most `max_age_s` away.

    `max_age_s` 0: no limit. Raises UnusableCalibration if there is none, it is too old, or it is of
    another camera.
    """
    limit_ns = round(max_age_s * 1e9) or 1 << 63

    def distance_ns(info: KnownInfo) -> int:
        away_ns = abs(info.stamp_ns - stamp_ns)
        return min(away_ns, limit_ns) if info.is_lasting else away_ns

    size = f"{size_wh[0]} x {size_wh[1]}"
    best = min(infos, key=distance_ns, default=None)
    if best is None:
        raise _none(f"none came for an image of {size}; publish it, or remap camera_info to its topic")
    if distance_ns(best) > limit_ns:
        raise _none(
            f"the nearest is {distance_ns(best) / 1e9:.3g} s from the image of {size}, camera.info_max_age_s is "
            f"{max_age_s:g}; publish it with each image, or latched"
        )
    its_frame_id = best.message.header.frame_id
    if its_frame_id and not same_frame(its_frame_id, frame_id):
        raise _none(
            f"it is of frame {its_frame_id!r}, the image of {size} of {frame_id!r}; publish that of the image's camera"
        )
    return best.message


def _none(detail: str) -> UnusableCalibration:
    return UnusableCalibration("no camera_info", detail)

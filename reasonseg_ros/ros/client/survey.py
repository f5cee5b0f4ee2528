"""A survey of a robot's topics: publishers, types, quality of service, measured rates, stamps and transforms.

Listens for some seconds with a separate node. Images are received as bytes; only their stamps are read.
"""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node

CAMERA_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo")
OWN_TYPES = ("reasonseg_ros/msg/Segmentation",)
MOST_TOPICS = 40
"""Further topics are named but not listened to."""
DISCOVERY_S = 5.0
"""Maximum wait for a publisher of each input."""
CLOCK = "/clock"


@dataclass(frozen=True)
class TopicFacts:
    """One topic.

    Attributes:
        types: of its publishers and subscriptions.
        publishers: node and reliability (`reliable` or `best effort`) of each.
        messages: received while listening; None if nobody listened.
        rate_hz: None for less than two messages.
        stamp_age_s: median time from a message's stamp to its arrival, by the ROS clock; None without messages.
        has_stamps: whether the stamps are not all zero.
        size_bytes: of the largest message.
        frame_id: of the last header.
    """

    name: str
    types: tuple[str, ...]
    publishers: tuple[tuple[str, str], ...] = ()
    messages: int | None = None
    rate_hz: float | None = None
    stamp_age_s: float | None = None
    has_stamps: bool = True
    size_bytes: int = 0
    frame_id: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found in `listened_s` seconds.

    Attributes:
        topics: of the camera types, the node's answers, and the inputs that were asked for, by name.
        frames: tf frames with their parents; None if tf2_msgs is not installed.
        linked: whether tf leads from a frame to the target frame, by frame; empty without a target frame.
        is_simulated: somebody publishes /clock.
    """

    listened_s: float
    topics: Mapping[str, TopicFacts] = field(default_factory=dict)
    frames: Mapping[str, str] | None = None
    linked: Mapping[str, bool] = field(default_factory=dict)
    is_simulated: bool = False


def survey(names: Mapping[str, str], listen_s: float, target_frame: str = "") -> Survey:
    """Listen for `listen_s` seconds in this process's ROS domain, after waiting for publishers of the topics `names`.

    Raises ImportError without ROS 2.
    """
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node("reasonseg_doctor", context=context, start_parameter_services=False)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            return _Listener(node, executor).survey(names, listen_s, target_frame)
        finally:
            executor.shutdown()
            node.destroy_node()
    finally:
        context.try_shutdown()


class _Heard:
    """The messages of one topic."""

    def __init__(self) -> None:
        self.arrivals_s: list[float] = []
        self.ages_s: list[float] = []
        self.size_bytes = 0
        self.frame_id = ""
        self.has_stamps = False

    def take(self, node: Node, data: bytes) -> None:
        self.arrivals_s.append(time.monotonic())
        self.size_bytes = max(self.size_bytes, len(data))
        stamp_ns, self.frame_id = serialized_header(data)
        self.has_stamps = self.has_stamps or stamp_ns != 0
        self.ages_s.append((node.get_clock().now().nanoseconds - stamp_ns) / 1e9)


class _Listener:
    def __init__(self, node: Node, executor: Any) -> None:
        self._node = node
        self._executor = executor
        self._heard: dict[str, _Heard] = {}
        self._parents: dict[str, str] | None = None

    def survey(self, names: Mapping[str, str], listen_s: float, target_frame: str) -> Survey:
        inputs = {self._node.resolve_topic_name(name) for name in names.values()}
        kept = self._follow_transforms()
        deadline_s = time.monotonic() + DISCOVERY_S
        while time.monotonic() < deadline_s and not all(map(self._node.count_publishers, inputs)):
            self._executor.spin_once(timeout_sec=0.05)
        end_s = time.monotonic() + listen_s
        while (left_s := end_s - time.monotonic()) > 0:
            kept += self._subscribe(inputs)  # also to topics discovered meanwhile
            self._executor.spin_once(timeout_sec=min(left_s, 0.1))
        topics = {name: self._facts(name, types) for name, types in self._types(inputs).items()}
        cameras = {one.frame_id for one in topics.values() if one.frame_id}
        parents, linked = self._parents, {}
        if parents is not None and target_frame:
            linked = {frame: is_linked(parents, frame, target_frame) for frame in cameras}
        for subscription in kept:
            self._node.destroy_subscription(subscription)
        return Survey(listen_s, topics, parents, linked, self._node.count_publishers(CLOCK) > 0)

    def _follow_transforms(self) -> list[Any]:
        """Subscriptions to both topics of tf. None if tf2_msgs is missing, as among ROS's packages on PyPI."""
        from rclpy.qos import DurabilityPolicy, QoSProfile

        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            return []
        parents = self._parents = {}

        def take(message: TFMessage) -> None:
            for transform in message.transforms:
                parents[transform.child_frame_id.lstrip("/")] = transform.header.frame_id.lstrip("/")

        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        return [
            self._node.create_subscription(TFMessage, "/tf", take, QoSProfile(depth=100)),
            self._node.create_subscription(TFMessage, "/tf_static", take, latched),
        ]

    def _types(self, inputs: set[str]) -> dict[str, tuple[str, ...]]:
        """The topics to report. An input without a publisher has no type."""
        known = {name: tuple(types) for name, types in self._node.get_topic_names_and_types()}
        wanted = {name: types for name, types in known.items() if set(types) & {*CAMERA_TYPES, *OWN_TYPES}}
        return {**{name: known.get(name, ()) for name in inputs}, **wanted}

    def _subscribe(self, inputs: set[str]) -> list[Any]:
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        classes = dict(zip(CAMERA_TYPES, (Image, CompressedImage, CameraInfo), strict=True))
        made = []
        for name, types in self._types(inputs).items():
            kinds = [kind for kind in types if kind in classes]
            if name in self._heard or not kinds or not self._node.count_publishers(name):
                continue
            if len(self._heard) >= MOST_TOPICS:
                break
            heard = self._heard[name] = _Heard()
            # As the node subscribes by default: reliably, unless a publisher offers only best effort.
            reliable = all(word == "reliable" for _, word in self._publishers(name))
            reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
            take = partial(heard.take, self._node)
            qos = QoSProfile(depth=5, reliability=reliability)
            made.append(self._node.create_subscription(classes[kinds[0]], name, take, qos, raw=True))
        return made

    def _publishers(self, name: str) -> tuple[tuple[str, str], ...]:
        from rclpy.qos import ReliabilityPolicy

        found = self._node.get_publishers_info_by_topic(name)
        words = {ReliabilityPolicy.RELIABLE: "reliable", ReliabilityPolicy.BEST_EFFORT: "best effort"}
        return tuple(
            (f"{info.node_namespace.rstrip('/')}/{info.node_name}", words.get(info.qos_profile.reliability, "unknown"))
            for info in found
        )

    def _facts(self, name: str, types: tuple[str, ...]) -> TopicFacts:
        heard = self._heard.get(name)
        if heard is None:
            return TopicFacts(name, types, self._publishers(name))
        arrivals_s = heard.arrivals_s
        span_s = arrivals_s[-1] - arrivals_s[0] if len(arrivals_s) > 1 else 0.0
        return TopicFacts(
            name,
            types,
            self._publishers(name),
            len(arrivals_s),
            (len(arrivals_s) - 1) / span_s if span_s else None,
            statistics.median(heard.ages_s) if heard.ages_s else None,
            heard.has_stamps or not arrivals_s,
            heard.size_bytes,
            heard.frame_id,
        )


def serialized_header(data: bytes) -> tuple[int, str]:
    """Stamp in nanoseconds and frame_id of a serialized message that begins with a header (CDR, OMG DDS-XTypes 7.4)."""
    order = "<" if data[1] & 1 else ">"
    seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", data, 4)
    return seconds * 10**9 + nanoseconds, data[16 : 16 + max(length - 1, 0)].decode(errors="replace")


def is_linked(parents: Mapping[str, str], frame: str, target_frame: str) -> bool:
    """Whether two frames are in one tree of tf."""
    return _root(parents, frame) == _root(parents, target_frame)


def _root(parents: Mapping[str, str], frame: str) -> str:
    for _ in range(len(parents)):  # also stops at a cycle of frames
        if frame not in parents:
            break
        frame = parents[frame]
    return frame

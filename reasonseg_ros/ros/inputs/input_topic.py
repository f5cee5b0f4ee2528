"""Subscriptions that know their publishers: their type, their reliability, and how many messages were lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

RELIABILITY = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}


def subscribe(
    node: Node,
    kind: type,
    name: str,
    callback: Callable[..., None],
    qos: QoSProfile,
    on_lost: Callable[[int], None],
    on_incompatible: Callable[[], None] | None = None,
    raw: bool = False,
) -> Subscription:
    """A subscription that reports how many messages were lost on the way, if the middleware knows that.

    With `raw` the callback gets serialised bytes. `on_incompatible` is called for publishers whose quality of service
    does not match; without it they are logged.
    """
    incompatible = None if on_incompatible is None else lambda _: on_incompatible()
    events = {"incompatible_qos": incompatible, "message_lost": lambda event: on_lost(event.total_count_change)}
    try:
        callbacks = SubscriptionEventCallbacks(**events)
        return node.create_subscription(kind, name, callback, qos, event_callbacks=callbacks, raw=raw)
    except UnsupportedEventTypeError:
        return node.create_subscription(kind, name, callback, qos, raw=raw)


class InputTopic:
    """A subscription whose reliability follows the topic's publishers if it is `auto`. For the executor's thread.

    `auto` is reliable, because with best effort one lost packet loses a large image. If a publisher offers only best
    effort, `auto` is best effort, because a reliable subscription would not match. Call `follow_publishers` regularly,
    as publishers come and go; `post` calls it at once, outside of the subscription's callbacks.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        name: str,
        callback: Callable[..., None],
        reliability: str,
        depth: int,
        post: Callable[[Callable[[], None]], None] | None = None,
        on_lost: Callable[[int], None] = lambda _: None,
        raw: bool = False,
    ) -> None:
        self._node = node
        self._kind = kind
        self._name = name
        self._callback = callback
        self._is_auto = reliability == "auto"
        self._depth = depth
        self._post = post
        self._on_lost = on_lost
        self._raw = raw
        self._reliability = RELIABILITY.get(reliability, ReliabilityPolicy.RELIABLE)
        self._subscription: Subscription | None = self._subscribed()
        self.topic = str(self._subscription.topic_name)
        self.follow_publishers()

    def follow_publishers(self) -> None:
        """Subscribe again if the current publishers need another reliability."""
        if not self._is_auto or self._subscription is None:
            return
        wanted = ReliabilityPolicy.RELIABLE
        if any(info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for info in self._fitting()):
            wanted = ReliabilityPolicy.BEST_EFFORT
        if wanted != self._reliability:
            self._reliability = wanted
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribed()
            self._node.get_logger().info(f"{self.topic}: {_word(wanted)}, as its publishers offer")

    @property
    def is_best_effort(self) -> bool:
        return bool(self._reliability == ReliabilityPolicy.BEST_EFFORT)

    def publishers(self) -> list[bytes]:
        """Identities of the publishers of the right type."""
        return [bytes(info.endpoint_gid) for info in self._fitting()]

    def report(self) -> str:
        """Name of the topic and its publishers, with what prevents their messages from arriving and the remedy."""
        publishers = self._publishers()
        if not publishers:
            return f"{self.topic} has no publisher; start the camera or remap {self._name} to its topic"
        fitting = self._fitting()
        described = ", ".join(sorted({f"{info.topic_type} by {_node_name(info)}" for info in publishers}))
        text = f"{self.topic} has {len(publishers)} publisher{'s' if len(publishers) > 1 else ''}: {described}"
        if not fitting:
            return f"{text}; expected {self._type}{self._remedy(publishers)}"
        if len(fitting) < len(publishers):
            text += f"; the node takes {self._type} only"
        offered = {info.qos_profile.reliability for info in fitting}
        if not self.is_best_effort and offered == {ReliabilityPolicy.BEST_EFFORT}:
            return f"{text}; best effort only, set camera.reliability to auto"
        return text

    def destroy(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def _type(self) -> str:
        package, *_, name = (*self._kind.__module__.split("."), self._kind.__name__)
        return f"{package}/msg/{name}"

    def _remedy(self, publishers: list[TopicEndpointInfo]) -> str:
        found = {info.topic_type.rsplit("/", 1)[-1] for info in publishers}
        wanted = self._kind.__name__
        if wanted == "Image" and "CompressedImage" in found:
            return f", remap {self._name} to the raw topic or set camera.transport to compressed"
        if wanted == "CompressedImage" and "Image" in found:
            return f", remap {self._name} to the topic that ends in /compressed or set camera.transport to raw"
        return f", remap {self._name} to a topic of that type"

    def _publishers(self) -> list[TopicEndpointInfo]:
        return list(self._node.get_publishers_info_by_topic(self.topic))

    def _fitting(self) -> list[TopicEndpointInfo]:
        return [info for info in self._publishers() if info.topic_type == self._type]

    def _subscribed(self) -> Subscription:
        qos = QoSProfile(depth=self._depth, reliability=self._reliability)
        follow = self._follow_soon if self._is_auto else None
        return subscribe(self._node, self._kind, self._name, self._callback, qos, self._on_lost, follow, self._raw)

    def _follow_soon(self) -> None:
        if self._post is not None:
            self._post(self.follow_publishers)


def _word(reliability: Any) -> str:
    return "best effort" if reliability == ReliabilityPolicy.BEST_EFFORT else "reliable"


def _node_name(info: TopicEndpointInfo) -> str:
    if info.node_name == "_NODE_NAME_UNKNOWN_":  # it is still being discovered
        return "a node"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"

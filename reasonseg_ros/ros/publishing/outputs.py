"""The node's publishers: one outcome in, all its messages out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from reasonseg_ros import msg
from reasonseg_ros.config import Config
from reasonseg_ros.images.overlays.drawing import draw_answer
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.ros.conversion import (
    confidence_image,
    frame_3d,
    header_message,
    jpeg_message,
    label_image,
    pixels_message,
)
from reasonseg_ros.ros.diagnostics import QuestionHealth
from reasonseg_ros.ros.inputs.input_topic import RELIABILITY
from reasonseg_ros.ros.publishing.cloud import cloud_message
from reasonseg_ros.ros.publishing.markers import marker_array
from reasonseg_ros.ros.standard.topics import LABEL_INFO, installed_topics
from reasonseg_ros.types import Frame, RgbImage, Segmentation

ANSWERS = ("segmentation", "reasoning")
LATCHED = (*ANSWERS, LABEL_INFO)
"""Latched topics: the last message is kept for late subscribers, so their queues hold one message."""
RECEIVED_WAIT = Duration(nanoseconds=50_000_000)
"""Maximum wait of an answer for subscribers that lack the earlier ones, which it would replace in the queue."""
UNRECEIVED_BYTES = 64_000
"""Answers up to about this total size may be in flight before one waits; the transport's buffers hold more."""
RETRY_S, TRIES = 0.2, 25
"""Delay and number of retries for an answer that could not be sent."""


class Outputs:
    """Publishes answers while the node is active, and nothing while it is not. A failing message never raises. Answers
    (segmentation, the final reasoning) that could not be sent are sent again; other messages are dropped. Both are
    logged and counted.
    """

    def __init__(self, node: LifecycleNode, config: Config, health: QuestionHealth) -> None:
        self._node = node
        self._health = health
        reliability = RELIABILITY[config.output.reliability]
        streamed = QoSProfile(depth=config.output.depth, reliability=reliability)
        latched = QoSProfile(depth=1, reliability=reliability, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        standard = installed_topics(config.output, node.get_logger())
        self._standard = [topic for topic, _ in standard.values()]
        self._labels: Any = None
        self._publishers: dict[str, Any] = {
            name: node.create_lifecycle_publisher(kind, f"~/{name}", latched if name in LATCHED else streamed)
            for name, kind in {
                "segmentation": msg.Segmentation,
                "reasoning": msg.Reasoning,
                "label_mask": Image,
                "confidence": Image,
                "overlay": Image,
                "overlay/compressed": CompressedImage,
                "points": PointCloud2,
                "markers": MarkerArray,
                **{name: kind for name, (_, kind) in standard.items()},
            }.items()
        }
        self._unreceived_bytes: Counter[str] = Counter()
        self._unsent: deque[tuple[str, Any]] = deque()
        self._tries = 0
        self._retry = node.create_timer(RETRY_S, self._send_again, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._retry.cancel()

    def publish_reasoning(self, message: msg.Reasoning) -> None:
        """Publish a growing thought."""
        with self._reported("reasoning"):
            self._publishers["reasoning"].publish(message)

    def publish(
        self, outcome: Outcome, message: msg.Segmentation, reasoning: msg.Reasoning | None, overlay_alpha: float
    ) -> None:
        """Publish an answer, its masks first. Label mask and confidence are sent for answers only, never for a failure.
        Messages without subscribers are not built, because at the rate of tracking images would cost much of a core.
        """
        if outcome.is_repeated and not outcome.is_last:
            with self._reported("segmentation"):
                self._publishers["segmentation"].publish(message)
        else:
            self._send("segmentation", message)
        if reasoning is not None:
            self._send("reasoning", reasoning)
        frame, segmentation = outcome.frame, outcome.segmentation
        if frame is None:
            return
        makers: dict[str, Callable[[], Any]] = {}
        if segmentation is not None and outcome.answer.status.is_answer:
            for name, make_image in (("label_mask", label_image), ("confidence", confidence_image)):
                makers[name] = partial(_region_image, make_image, segmentation)
        picture = cache(partial(_overlay, outcome, frame, overlay_alpha))
        makers["overlay"] = lambda: pixels_message(header_message(frame), picture())
        # The name is what image_transport's subscribers look for.
        # Several questions may be about one image, so the stamp does not say whose answer a picture shows.
        an_id = outcome.question.query.query_id
        makers["overlay/compressed"] = lambda: jpeg_message(header_message(frame), picture(), an_id)
        makers["markers"] = partial(marker_array, outcome)
        if frame_3d(frame) and outcome.answer.status.is_answer:
            makers["points"] = partial(cloud_message, frame, outcome.regions)
        makers |= {topic.name: partial(topic.make, topic.messages, outcome) for topic in self._standard}
        self._publish_labels(makers.pop(LABEL_INFO, None))
        for name, make in makers.items():
            with self._reported(name):
                if self._publishers[name].get_subscription_count() and (made := make()) is not None:
                    self._publishers[name].publish(made)

    def _publish_labels(self, make: Callable[[], Any] | None) -> None:
        """Publish the names of the label mask's values if they changed, also without subscribers."""
        with self._reported(LABEL_INFO):
            labels = make() if make is not None else None
            if labels is not None and labels.class_map != self._labels:
                self._publishers[LABEL_INFO].publish(labels)
                self._labels = labels.class_map

    def delete_markers(self) -> None:
        """Delete the markers of the last answer, which RViz would show for ever."""
        publisher = self._publishers["markers"]
        with self._reported("markers"):
            if publisher.is_activated and publisher.get_subscription_count():
                publisher.publish(MarkerArray(markers=[Marker(ns="question", action=Marker.DELETEALL)]))

    def wait_until_received(self, limit_s: float) -> None:
        """Wait until all subscribers have the last answers and markers, at most for this time each."""
        self._send_again()
        limit = Duration(nanoseconds=int(limit_s * 1e9))
        for name in (*ANSWERS, "markers"):
            with suppress(Exception):  # then their receipt is unknown
                self._publishers[name].wait_for_all_acked(limit)

    def destroy(self) -> None:
        self._node.destroy_timer(self._retry)
        for name, message in self._unsent:  # if that is still possible
            with self._reported(name):
                self._publishers[name].publish(message)
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def _send(self, name: str, message: Any) -> None:
        self._unsent.append((name, message))
        if len(self._unsent) == 1:
            self._send_again()

    def _send_again(self) -> None:
        """Send waiting messages in order. Those that cannot be sent now stay for the next time."""
        while self._unsent:
            name, message = self._unsent[0]
            try:
                self._wait_for_room(name, message)
                self._publishers[name].publish(message)
            except Exception as error:
                self._tries += 1
                self._report(name, error)
                if self._tries < TRIES:
                    if self._retry.is_canceled():
                        self._retry.reset()
                    return
                self._health.lost[f"~/{name}: could not be sent"] += 1
            self._unsent.popleft()
            self._tries = 0
        self._retry.cancel()

    def _wait_for_room(self, name: str, message: Any) -> None:
        """Wait for subscribers, because an answer that is replaced in the queue before it arrives is lost."""
        size = _size_bytes(message)
        if self._unreceived_bytes[name] + size > UNRECEIVED_BYTES:
            self._publishers[name].wait_for_all_acked(RECEIVED_WAIT)
            self._unreceived_bytes[name] = 0
        self._unreceived_bytes[name] += size

    @contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._report(name, error)

    def _report(self, name: str, error: Exception) -> None:
        self._health.send_failures[f"~/{name}"] += 1
        text = f"cannot send ~/{name}: {type(error).__name__}: {error}"
        self._node.get_logger().error(text, throttle_duration_sec=1.0)


def _size_bytes(message: msg.Segmentation | msg.Reasoning) -> int:
    """Approximate size of a message on the wire."""
    regions = getattr(message, "regions", ())
    masks = sum(len(region.mask.data) + len(region.raw_mask.data) + 500 for region in regions)
    return masks + len(message.question) + len(message.thought) + len(getattr(message, "text", "")) + 500


def _region_image(make_image: Callable[..., Any], segmentation: Segmentation) -> Image:
    frame = segmentation.frame
    return pixels_message(header_message(frame), make_image(segmentation.regions, frame.size_wh))


def _overlay(outcome: Outcome, frame: Frame, alpha: float) -> RgbImage:
    regions = outcome.regions
    return draw_answer(frame.rgb, regions, outcome.question.query.text, outcome.answer, alpha)

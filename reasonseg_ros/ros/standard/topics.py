"""The topics with messages of other packages, and which of them can be published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from reasonseg_ros.config import OutputConfig
from reasonseg_ros.live.questions import Outcome
from reasonseg_ros.ros.standard.annotations import image_annotations
from reasonseg_ros.ros.standard.detections import detections_2d, detections_3d, label_info
from reasonseg_ros.ros.standard.target_pose import target_pose


@dataclass(frozen=True)
class StandardTopic:
    """A topic below the node's name, switched by the field of that name in OutputConfig.

    Attributes:
        package, kind: the message type.
        make: builds the message of an outcome, given the package's module `msg`; None if there is nothing to publish.
    """

    name: str
    package: str
    kind: str
    make: Callable[[Any, Outcome], Any | None]

    @property
    def messages(self) -> Any:
        """The package's module `msg`. Raises ImportError if it is not installed."""
        return import_module(f"{self.package}.msg")


LABEL_INFO = "label_info"
"""Latched, and published if it has changed."""
STANDARD_TOPICS = (
    StandardTopic("detections_2d", "vision_msgs", "Detection2DArray", detections_2d),
    StandardTopic("detections_3d", "vision_msgs", "Detection3DArray", detections_3d),
    StandardTopic(LABEL_INFO, "vision_msgs", "LabelInfo", label_info),
    StandardTopic("annotations", "foxglove_msgs", "ImageAnnotations", image_annotations),
    StandardTopic("target_pose", "geometry_msgs", "PoseStamped", target_pose),
)


def installed_topics(output: OutputConfig, logger: RcutilsLogger) -> dict[str, tuple[StandardTopic, type]]:
    """The enabled topics whose messages are installed, with their message class, by name. Missing packages are logged
    once.
    """
    found: dict[str, tuple[StandardTopic, type]] = {}
    missing: dict[str, list[str]] = {}
    for topic in STANDARD_TOPICS:
        if not getattr(output, topic.name):
            continue
        try:
            found[topic.name] = topic, getattr(topic.messages, topic.kind)
        except (ImportError, AttributeError):
            missing.setdefault(topic.package, []).append(f"~/{topic.name}")
    for package, names in missing.items():
        logger.info(f"{package} is not installed here, so {', '.join(names)} are not published")
    return found

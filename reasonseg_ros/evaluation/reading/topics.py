"""Finds the topics of a bag with the images, the questions and the ground truth, by their message types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.messages import is_depth

GROUND_TRUTH = "reasonseg_ros/msg/GroundTruth"
QUERY = "reasonseg_ros/msg/Query"
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True)
class Topics:
    """Message type of every topic that is read, and the topic of the images.

    `has_other_images`: the bag also has other image topics, to which ground truth may refer.
    """

    types: dict[str, str]
    image: str
    has_other_images: bool = False

    def has(self, message_type: str) -> bool:
        return message_type in self.types.values()


def find_topics(
    bag: Path,
    types: Mapping[str, str],
    first_message: Callable[[str], Any],
    image_topic: str = "",
    timed_questions: bool = False,
) -> Topics:
    """The topics to evaluate, from all `types` of a bag.

    `first_message` gives a topic's first message, or None. It separates depth from colour if there are several image
    topics. Raises InvalidInput if a topic is missing, of a wrong type, or ambiguous.
    """
    image = _image_topic(bag, types, first_message, image_topic)
    chosen = {image: types[image]}
    if not timed_questions:
        asking = {topic: kind for topic, kind in types.items() if kind in (GROUND_TRUTH, QUERY)}
        if not asking:
            raise InvalidInput(f"{bag} holds neither ground truth nor questions; ask some with --questions FILE.yaml")
        chosen |= asking
    return Topics(chosen, image, sum(kind in IMAGES for kind in types.values()) > 1)


def _image_topic(bag: Path, types: Mapping[str, str], first_message: Callable[[str], Any], wanted: str) -> str:
    held = ", ".join(f"{topic} ({kind})" for topic, kind in sorted(types.items())) or "no topic at all"
    if wanted:
        if wanted not in types:
            raise InvalidInput(f"{bag} has no topic {wanted}; it has {held}")
        if types[wanted] not in IMAGES:
            raise InvalidInput(f"{wanted} is a {types[wanted]}; expected an image: {' or '.join(IMAGES)}")
        return wanted
    images = [topic for topic, kind in types.items() if kind in IMAGES]
    if len(images) > 1:
        images = [topic for topic in images if not _is_depth_topic(first_message(topic))]
    if not images:
        raise InvalidInput(f"{bag} has no colour image topic ({' or '.join(IMAGES)}); it has {held}")
    if len(images) > 1:
        raise InvalidInput(f"{bag} has several image topics; choose with --image-topic: {', '.join(sorted(images))}")
    return images[0]


def _is_depth_topic(first: Any) -> bool:
    return first is not None and is_depth(first)

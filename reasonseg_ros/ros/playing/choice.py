"""The topics of a bag that can be published on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from reasonseg_ros.bags import BagReader
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.ros.playing.message_fields import differing_field
from reasonseg_ros.ros.playing.publishers import message_class


def playable(bag: BagReader, topics: Sequence[str]) -> tuple[list[str], list[str]]:
    """Topics to publish, and why others are left out. Raises InvalidInput for a requested topic that cannot be
    published, or if there is none.
    """
    if unknown := set(topics) - set(bag.topics):
        reasons = [f"{topic} ({bag.skipped[topic][0]})" if topic in bag.skipped else topic for topic in sorted(unknown)]
        raise InvalidInput(f"{bag.path} has no topic {', '.join(reasons)}; it has {', '.join(bag.topics)}")
    if topics:
        for wanted in topics:
            _check_playable(bag, wanted)
        return list(topics), []
    chosen: list[str] = []
    problems: list[str] = []
    for topic in bag.topics:
        try:
            _check_playable(bag, topic)
            chosen.append(topic)
        except InvalidInput as error:
            if bag.counts[topic]:
                problems.append(f"{topic}: {bag.counts[topic]} messages not published: {error}")
    if not chosen:
        why = "; ".join([*problems, *bag.notes]) or "it is empty"
        raise InvalidInput(f"{bag.path} has no topic that can be published: {why}")
    return chosen, problems


def _check_playable(bag: BagReader, topic: str) -> None:
    """Raises InvalidInput for a topic whose type is not installed as recorded, or whose name is not valid in ROS."""
    kind = bag.topics[topic]
    message_class(kind)
    recorded = bag.definition(topic)
    if recorded and (field := differing_field(recorded, kind, message_class)):
        raise InvalidInput(
            f"the installed {kind} is of another version, its {field} differs; install the version that the bag was "
            "recorded with, or leave its topic out with --topics"
        )
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"{topic!r:.200} is no name of a topic ({reason}); leave it out with --topics") from error

"""The topics of a bag that can be published on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from reasonseg_ros.bags import BagReader, typestore
from reasonseg_ros.bags.definitions import store_of
from reasonseg_ros.bags.records import Topic
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.ros.playing.message_fields import differing_field
from reasonseg_ros.ros.playing.publishers import message_class


@dataclass(frozen=True)
class Choice:
    """The topics to publish.

    Attributes:
        left_out: descriptions of these topics whose messages are not published, as their type is of another version.
        problems: one line for each topic or description that is left out, with its number of messages.
    """

    topics: list[str] = field(default_factory=list)
    left_out: set[Topic] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def playable(bag: BagReader, topics: Sequence[str]) -> Choice:
    """Raises InvalidInput for a requested topic that cannot be published, or if there is none."""
    if unknown := set(topics) - set(bag.topics):
        reasons = [f"{topic} ({bag.skipped[topic][0]})" if topic in bag.skipped else topic for topic in sorted(unknown)]
        raise InvalidInput(f"{bag.path} has no topic {', '.join(reasons)}; it has {', '.join(bag.topics)}")
    choice = Choice()
    for name in topics or bag.topics:
        descriptions = bag.descriptions(name)
        why = {topic: reason for topic in descriptions if (reason := _why_not(topic))}
        if topics and why:
            raise InvalidInput(next(iter(why.values())))
        if len(why) < len(descriptions):
            choice.topics.append(name)
        choice.left_out.update(why)
        for topic, reason in why.items():
            count = bag.counts[name] if len(descriptions) == 1 else descriptions[topic]
            if count:
                choice.problems.append(f"{name}: {count} messages not published: {reason}")
    if not choice.topics:
        reason = "; ".join([*choice.problems, *bag.notes]) or "it is empty"
        raise InvalidInput(f"{bag.path} has no topic that can be published: {reason}")
    return choice


def _why_not(topic: Topic) -> str:
    """Why messages of this description cannot be published; empty if they can."""
    kind, recorded = topic.message_type, store_of(topic)
    try:
        message_class(kind)
        if recorded is not typestore() and (differing := differing_field(recorded, kind, message_class)):
            return (
                f"the installed {kind} is of another version, its {differing} differs; install the version that the "
                "bag was recorded with, or leave its topic out with --topics"
            )
        validate_topic_name(topic.name)
    except InvalidInput as error:
        return str(error)
    except InvalidTopicNameException as error:
        return f"{topic.name!r:.200} is no name of a topic ({str(error).splitlines()[0]}); leave it out with --topics"
    return ""

"""Makes a small MCAP file in memory, with the definitions of its messages, so that any ROS 2 tool can read it."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

from mcap.writer import Writer

from reasonseg_ros.bags.messages import typestore


class StampedMessage(NamedTuple):
    """The CDR bytes of a message of type `message_type`, as received at `stamp_ns`."""

    topic: str
    message_type: str
    stamp_ns: int
    data: bytes


def mcap_bytes(messages: Iterable[StampedMessage]) -> bytes:
    """The file's bytes. The types must be in `typestore()`. Messages of the same time keep their order."""
    stream = BytesIO()
    writer = Writer(stream)
    writer.start(profile="ros2", library="reasonseg_ros")
    schemas: dict[str, int] = {}
    channels: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for message in sorted(messages, key=lambda one: one.stamp_ns):
        kind, topic = message.message_type, message.topic
        if kind not in schemas:
            definition = typestore().generate_msgdef(kind, ros_version=2)[0]
            schemas[kind] = writer.register_schema(kind, "ros2msg", definition.encode())
        if topic not in channels:
            channels[topic] = writer.register_channel(topic, "cdr", schemas[kind], {"offered_qos_profiles": ""})
        numbers[topic] = numbers.get(topic, -1) + 1
        stamp_ns = message.stamp_ns
        writer.add_message(channels[topic], stamp_ns, message.data, stamp_ns, sequence=numbers[topic])
    writer.finish()  # type: ignore[no-untyped-call]
    return stream.getvalue()

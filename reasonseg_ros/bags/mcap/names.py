"""The schemas and channels of an MCAP file, which name its topics."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from mcap.data_stream import ReadDataStream
from mcap.records import Channel, Schema

from reasonseg_ros.bags.records import Topic

_FORMATS = {"ros2msg": "ros2msg", "ros2idl": "ros2idl", "omgidl": "ros2idl", "": "ros2msg"}


class McapNames:
    """Schemas and channels by their ids. If an id is repeated with other content, the first one is used.

    `add_damage` is called with the file offset of such a record and the reason.
    """

    def __init__(self, add_damage: Callable[[int, str], None]) -> None:
        self.channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._topics: dict[int, Topic] = {}
        self._add_damage = add_damage

    def add_schema(self, data: bytes, offset: int) -> None:
        schema = Schema.read(ReadDataStream(BytesIO(data)))
        known = self._schemas.setdefault(schema.id, schema)
        if (known.name, known.data) != (schema.name, schema.data):
            reason = f"schema {schema.id} is {known.name} and {schema.name}; all of its messages count as the first"
            self._add_damage(offset, reason)

    def add_channel(self, data: bytes, offset: int) -> None:
        channel = Channel.read(ReadDataStream(BytesIO(data)))
        known = self.channels.setdefault(channel.id, channel)
        if (known.topic, known.schema_id, known.message_encoding) != (
            channel.topic, channel.schema_id, channel.message_encoding
        ):  # fmt: skip
            reason = (
                f"channel {channel.id} is {known.topic} and {channel.topic}; all of its messages count as the first"
            )
            self._add_damage(offset, reason)

    def topic(self, channel_id: int) -> Topic | None:
        """The topic of a channel; None if its channel or schema is missing."""
        if channel_id in self._topics:
            return self._topics[channel_id]
        channel = self.channels.get(channel_id)
        schema = self._schemas.get(channel.schema_id) if channel else None
        if channel is None or (schema is None and channel.schema_id != 0):
            return None
        cannot_read = ""
        if channel.message_encoding != "cdr":
            cannot_read = f"its messages are {channel.message_encoding or 'of an unnamed encoding'}, not CDR"
        elif schema is None or not schema.name:
            cannot_read = "its channel names no message type"
        elif schema.encoding not in _FORMATS:
            cannot_read = f"its message type is described as {schema.encoding}"
        topic = Topic(
            channel.topic,
            schema.name if schema else "",
            schema.data.decode(errors="replace") if schema and schema.encoding in _FORMATS else "",
            _FORMATS.get(schema.encoding, "") if schema else "",
            channel.metadata.get("offered_qos_profiles", ""),
            cannot_read,
        )
        self._topics[channel_id] = topic
        return topic

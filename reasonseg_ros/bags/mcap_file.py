"""MCAP files, read chunk by chunk in the order of log time. Neither index nor summary is needed.

A scan finds where the chunks lie and when they begin, from the records' own headers. Only if the summary does not name
every topic with its count are the chunks unpacked in the scan too. Reading then merges chunks by time, so that a file
written topic by topic comes in order with a few chunks in memory. Source of the format: https://mcap.dev/spec.
"""

from __future__ import annotations

import heapq
import os
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Schema, Statistics

from reasonseg_ros.bags.records import Contents, Damage, Record, Topic
from reasonseg_ros.bags.unpacking import ZSTD_MAGIC, unpacked
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.plain_text import one_line

MAGIC = b"\x89MCAP0\r\n"
MOST_WAITING_BYTES = 4 * 2**30
"""Messages in memory at once. Only a file whose chunks all span the same time needs more than a few chunks."""
_LOOSE_BYTES = 4 * 2**20
"""Messages outside of chunks are read in groups of about this size."""
_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQI")
_FORMATS = {"ros2msg": "ros2msg", "ros2idl": "ros2idl", "omgidl": "ros2idl", "": "ros2msg"}


@dataclass
class _Piece:
    """A chunk, or neighbouring messages outside of chunks: its first log time and where its content lies."""

    start_ns: int
    offset: int
    data_offset: int
    data_length: int
    compression: str = ""
    says_bytes: int = 0
    crc: int = 0


class McapFile:
    """One MCAP file. `path` names it in messages; `source` is where its bytes are."""

    def __init__(self, path: Path, source: Path | None = None) -> None:
        self.path = path
        self._source = source or path
        self.contents = Contents()
        self._pieces: list[_Piece] = []
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._topics: dict[int, Topic] = {}
        with self._source.open("rb") as stream:
            statistics = self._scan(stream)
            counts = dict(statistics.channel_message_counts) if statistics else {}
            is_complete = statistics is not None and sum(counts.values()) == statistics.message_count
            if self.contents.end or not is_complete or not set(counts) <= set(self._channels):
                counts = self._unpack_all(stream)
        for channel_id in self._channels:
            topic = self._topic(channel_id)
            if topic is not None:
                self.contents.topics.setdefault(topic.name, topic)
                self.contents.counts[topic.name] += counts.get(channel_id, 0)
        self._pieces.sort(key=lambda piece: (piece.start_ns, piece.offset))
        self.contents.start_ns = self._pieces[0].start_ns if self._pieces else None

    def records(self, topics: Collection[str]) -> Iterator[Record | Damage]:
        waiting: list[tuple[int, int, int, Record | Damage]] = []
        waiting_bytes = last_ns = 0
        with self._source.open("rb") as stream:
            for piece in [*self._pieces, None]:
                while waiting and (piece is None or waiting[0][:2] < (piece.start_ns, piece.offset)):
                    item = heapq.heappop(waiting)[-1]
                    waiting_bytes -= len(item.data) if isinstance(item, Record) else 0
                    last_ns = item.stamp_ns
                    yield item
                if piece is None:
                    break
                nameless = 0
                try:
                    data = self._read(stream, piece)
                    for number, (channel_id, stamp_ns, body) in enumerate(_messages(data)):
                        topic = self._topic(channel_id)
                        if topic is None:
                            nameless += 1
                        elif topic.name in topics and not topic.cannot_read:
                            record = self._record(topic, stamp_ns, body, piece)
                            heapq.heappush(waiting, (stamp_ns, piece.offset, number, record))
                            waiting_bytes += len(record.data) if isinstance(record, Record) else 0
                except InvalidInput as error:
                    yield self._damage(piece.offset, f"{error}; the messages of this chunk are lost", piece.start_ns)
                if nameless:
                    reason = f"{nameless} messages of unknown topics; what names these is damaged"
                    yield self._damage(piece.offset, reason, piece.start_ns)
                if waiting_bytes > MOST_WAITING_BYTES:
                    raise InvalidInput(
                        f"{self.path}: over {MOST_WAITING_BYTES / 1e9:.0f} GB of messages overlap in time; sort the "
                        "file with `mcap sort`"
                    )
        if self.contents.end is not None:
            yield replace(self.contents.end, stamp_ns=last_ns)

    def _record(self, topic: Topic, stamp_ns: int, body: bytes, piece: _Piece) -> Record | Damage:
        try:
            return Record(topic, stamp_ns, unpacked(body, "zstd") if body[:4] == ZSTD_MAGIC else body)
        except InvalidInput as error:
            return self._damage(piece.offset, f"a message on {topic.name}: {error}", stamp_ns)

    def _damage(self, offset: int, reason: str, stamp_ns: int = 0) -> Damage:
        return Damage(self.path, f"byte {offset}", reason, stamp_ns)

    def _scan(self, stream: BinaryIO) -> Statistics | None:
        """Find all pieces and what names topics. Returns the summary's statistics, if the file was closed with some."""
        size = os.fstat(stream.fileno()).st_size
        if stream.read(len(MAGIC)) != MAGIC:
            what = "is empty" if size == 0 else "is no MCAP file"
            raise InvalidInput(f"{self.path} {what}; name a bag that was recorded as MCAP")
        statistics: Statistics | None = None
        offset = len(MAGIC)
        while True:
            stream.seek(offset)
            head = stream.read(_RECORD.size)
            if len(head) < _RECORD.size:
                self.contents.end = self._damage(offset, f"the file breaks off at byte {size}; it was not closed")
                return None
            opcode, length = _RECORD.unpack(head)
            if opcode == 0 or length > size:
                left = f"the {size - offset} bytes from here on are not read"
                self.contents.end = self._damage(offset, f"a record of type {opcode} with {length} bytes; {left}")
                return None
            body = offset + _RECORD.size
            if body + length > size:
                reason = f"the file breaks off at byte {size}; it was not closed, or not copied whole"
                self.contents.end = self._damage(offset, reason)
                return None
            try:
                statistics = self._on_record(stream, opcode, offset, body, length) or statistics
            except Exception as error:  # whatever damaged bytes make of the decoder
                left = f"the {size - offset} bytes from here on are not read"
                self.contents.end = self._damage(offset, f"{_told(error)}; {left}")
                return None
            offset = body + length
            if opcode == Opcode.FOOTER:
                stream.seek(offset)
                if stream.read(len(MAGIC)) != MAGIC:
                    self.contents.end = self._damage(offset, "the end mark is wrong; the file was cut or overwritten")
                return statistics

    def _on_record(self, stream: BinaryIO, opcode: int, offset: int, body: int, length: int) -> Statistics | None:
        if opcode == Opcode.SCHEMA:
            self._add_schema(stream.read(length))
        elif opcode == Opcode.CHANNEL:
            self._add_channel(stream.read(length))
        elif opcode == Opcode.STATISTICS:
            return Statistics.read(ReadDataStream(BytesIO(stream.read(length))))
        elif opcode == Opcode.CHUNK:
            start_ns, _, says_bytes, crc = _CHUNK.unpack(stream.read(_CHUNK.size))
            (name_length,) = struct.unpack("<I", stream.read(4))
            compression = stream.read(min(name_length, 64)).decode()
            (data_length,) = struct.unpack("<Q", stream.read(8))
            data_offset = body + _CHUNK.size + 4 + name_length + 8
            if data_offset + data_length > body + length:
                raise InvalidInput(f"a chunk of {length} bytes says that {data_length} are its content")
            self._pieces.append(_Piece(start_ns, offset, data_offset, data_length, compression, says_bytes, crc))
        elif opcode == Opcode.MESSAGE:
            _, _, stamp_ns, _ = _MESSAGE.unpack(stream.read(_MESSAGE.size))
            last = self._pieces[-1] if self._pieces else None
            # A group of loose messages has its own headers as content, so its offset is that of its content.
            if last and last.offset == last.data_offset and last.data_offset + last.data_length == offset and (
                last.data_length < _LOOSE_BYTES
            ):
                last.data_length += _RECORD.size + length
                last.start_ns = min(last.start_ns, stamp_ns)
            else:
                self._pieces.append(_Piece(stamp_ns, offset, offset, _RECORD.size + length))
        return None

    def _unpack_all(self, stream: BinaryIO) -> dict[int, int]:
        """Unpack every chunk for the topics and the messages in it. Returns the messages by channel."""
        counts: Counter[int] = Counter()
        for piece in self._pieces:
            try:
                stamps: list[int] = []
                for channel_id, stamp_ns, _ in _messages(self._read(stream, piece)):
                    counts[channel_id] += 1
                    stamps.append(stamp_ns)
                piece.start_ns = min(stamps, default=piece.start_ns)
            except InvalidInput:
                continue  # comes as damage when the messages are read
        return counts

    def _read(self, stream: BinaryIO, piece: _Piece) -> bytes:
        """The records of a piece; takes over the topics that it names. Raises InvalidInput if it is damaged."""
        stream.seek(piece.data_offset)
        data = unpacked(stream.read(piece.data_length), piece.compression, piece.says_bytes)
        if piece.crc and zlib.crc32(data) != piece.crc:
            raise InvalidInput("the checksum of a chunk is wrong")
        for opcode, start, end in _records(data):
            try:
                if opcode == Opcode.SCHEMA:
                    self._add_schema(data[start:end])
                elif opcode == Opcode.CHANNEL:
                    self._add_channel(data[start:end])
            except Exception as error:  # whatever damaged bytes make of the decoder
                raise InvalidInput(_told(error)) from error
        return data

    def _add_schema(self, data: bytes) -> None:
        schema = Schema.read(ReadDataStream(BytesIO(data)))
        self._schemas[schema.id] = schema

    def _add_channel(self, data: bytes) -> None:
        channel = Channel.read(ReadDataStream(BytesIO(data)))
        if channel.id not in self._channels:
            self._channels[channel.id] = channel

    def _topic(self, channel_id: int) -> Topic | None:
        """None if what names the topic is damaged."""
        if channel_id in self._topics:
            return self._topics[channel_id]
        channel = self._channels.get(channel_id)
        schema = self._schemas.get(channel.schema_id) if channel else None
        if channel is None or (schema is None and channel.schema_id != 0):
            return None
        cannot_read = ""
        if channel.message_encoding != "cdr":
            cannot_read = f"its messages are {channel.message_encoding or 'of an unnamed encoding'}, not CDR"
        elif schema is None:
            cannot_read = "its channel names no message type"
        elif schema.encoding not in _FORMATS:
            cannot_read = f"its message type is described as {schema.encoding}"
        topic = Topic(
            one_line(channel.topic),
            one_line(schema.name) if schema else "",
            schema.data.decode(errors="replace") if schema and schema.encoding in _FORMATS else "",
            _FORMATS.get(schema.encoding, "") if schema else "",
            channel.metadata.get("offered_qos_profiles", ""),
            one_line(cannot_read),
        )
        self._topics[channel_id] = topic
        return topic


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type of each record and where its content begins and ends. Raises InvalidInput if a length is wrong."""
    offset = 0
    while offset < len(data):
        if offset + _RECORD.size > len(data):
            raise InvalidInput("a record breaks off")
        opcode, length = _RECORD.unpack_from(data, offset)
        start = offset + _RECORD.size
        if start + length > len(data):
            raise InvalidInput(f"a record of {length} bytes in the {len(data) - start} that are left")
        yield opcode, start, start + length
        offset = start + length


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Channel, log time and content of each message."""
    for opcode, start, end in _records(data):
        if opcode == Opcode.MESSAGE:
            if end - start < _MESSAGE.size:
                raise InvalidInput(f"a message record of {end - start} bytes")
            channel_id, _, stamp_ns, _ = _MESSAGE.unpack_from(data, start)
            yield channel_id, stamp_ns, data[start + _MESSAGE.size : end]


def _told(error: Any) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

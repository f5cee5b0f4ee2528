"""Reads MCAP files chunk by chunk in the order of log time. Neither index nor summary is needed.

A scan of the record headers finds the offsets and start times of the chunks. It unpacks the chunks only if the summary
does not list every topic with its count. Reading then merges the chunks by time. For each started chunk, memory holds
the offsets of its messages. The newest unpacked chunks are cached; others are unpacked again when their next message is
due. So memory is bounded, whatever order a file was written in. Source of the format: https://mcap.dev/spec.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Statistics

from reasonseg_ros.bags.mcap.names import McapNames
from reasonseg_ros.bags.mcap.pieces import FilePiece, PieceCache
from reasonseg_ros.bags.mcap.records import MESSAGE_HEAD, RECORD_HEAD, MessageTable, messages_in, records_in
from reasonseg_ros.bags.records import Contents, Damage, Record, Topic, merged
from reasonseg_ros.bags.unpacking import check_size, unpacked, unpacked_message
from reasonseg_ros.errors import InvalidInput

MAGIC = b"\x89MCAP0\r\n"
_LOOSE_BYTES = 4 * 2**20
"""Messages outside of chunks are read in groups of about this size."""
_CHUNK = struct.Struct("<QQQI")
_CHUNK_INDEX = struct.Struct("<QQQ")
_PRIVATE = 0x80
"""Record types from this one on are private to the recorder."""


class McapFile:
    """One MCAP file. `path` names it in messages; its bytes are read from `source`."""

    def __init__(self, path: Path, source: Path | None = None) -> None:
        self.path = path
        self._source = source or path
        self.contents = Contents()
        self._pieces: list[FilePiece] = []
        self._chunk_offsets: set[int] = set()
        self._names = McapNames(self._add_damage)
        with self._source.open("rb") as stream:
            statistics = self._scan(stream)
            counts = dict(statistics.channel_message_counts) if statistics else {}
            is_complete = statistics is not None and sum(counts.values()) == statistics.message_count
            is_complete &= bool(counts) or not self._pieces
            is_named = all(self._names.topic(channel_id) is not None for channel_id in {*counts, *self._names.channels})
            if self.contents.end or not is_complete or not is_named:
                found = self._unpack_all(stream)
                counts = counts if is_complete else found
                if statistics and (missing := statistics.message_count - sum(counts.values())) > 0:
                    reason = (
                        f"its statistics count {statistics.message_count} messages; {missing} of them are not there"
                    )
                    self.contents.damages.append(Damage(self.path, "the summary", reason))
        for channel_id in self._names.channels:
            topic = self._names.topic(channel_id)
            if topic is not None:
                self.contents.counts[topic] += counts.get(channel_id, 0)
        self._pieces.sort(key=lambda piece: (piece.start_ns, piece.offset))
        self.contents.start_ns = self._pieces[0].start_ns if self._pieces else None

    def records(self, topics: Collection[str]) -> Iterator[Record | Damage]:
        last_ns = 0
        with self._source.open("rb") as stream:
            cache = PieceCache(partial(self._read, stream))
            parts = [(piece.start_ns, partial(self._of_piece, piece, cache, topics)) for piece in self._pieces]
            for item in merged(parts):
                last_ns = max(last_ns, item.stamp_ns)
                yield item
        for damage in (*self.contents.damages, self.contents.end):
            if damage is not None:
                yield replace(damage, stamp_ns=last_ns)

    def _of_piece(self, piece: FilePiece, cache: PieceCache, topics: Collection[str]) -> Iterator[Record | Damage]:
        stamp_ns = piece.start_ns
        try:
            table = MessageTable(cache.get(piece))
        except InvalidInput as error:
            yield self._damage(piece.offset, f"{error}; the messages of this chunk are lost", stamp_ns)
            return
        if table.stamps_ns and (first_ns := min(table.stamps_ns)) < piece.start_ns:
            reason = (
                f"its messages begin at {first_ns} ns, not at {piece.start_ns} ns as it says; they come out of order"
            )
            yield self._damage(piece.offset, reason, stamp_ns)
        nameless = 0
        for channel_id, stamp_ns, start, end in table.in_order():
            topic = self._names.topic(channel_id)
            if topic is None:
                nameless += 1
            elif topic.name in topics and not topic.cannot_read:
                yield self._record(topic, stamp_ns, cache.get(piece)[start:end], piece)
        cache.drop(piece)
        if nameless:
            reason = f"{nameless} messages of unknown topics; their schema or channel is damaged"
            yield self._damage(piece.offset, reason, stamp_ns)

    def _record(self, topic: Topic, stamp_ns: int, body: bytes, piece: FilePiece) -> Record | Damage:
        try:
            return Record(topic, stamp_ns, unpacked_message(body))
        except InvalidInput as error:
            return self._damage(piece.offset, f"a message on {topic.name}: {error}", stamp_ns)

    def _damage(self, offset: int, reason: str, stamp_ns: int = 0) -> Damage:
        return Damage(self.path, f"byte {offset}", reason, stamp_ns)

    def _add_damage(self, offset: int, reason: str) -> None:
        damage = self._damage(offset, reason)
        if damage not in self.contents.damages:
            self.contents.damages.append(damage)

    def _scan(self, stream: BinaryIO) -> Statistics | None:
        """Find all pieces, schemas and channels. Returns the summary's statistics, if the file has them."""
        size = os.fstat(stream.fileno()).st_size
        if stream.read(len(MAGIC)) != MAGIC:
            what = "is empty" if size == 0 else "is no MCAP file"
            raise InvalidInput(f"{self.path} {what}; name a bag that was recorded as MCAP")
        statistics: Statistics | None = None
        offset = len(MAGIC)
        while True:
            stream.seek(offset)
            head = stream.read(RECORD_HEAD.size)
            if len(head) < RECORD_HEAD.size:
                self.contents.end = self._damage(offset, f"the file breaks off at byte {size}; it was not closed")
                return None
            opcode, length = RECORD_HEAD.unpack(head)
            if opcode == 0 or length > size:
                left = f"the {size - offset} bytes from here on are not read"
                self.contents.end = self._damage(offset, f"a record of type {opcode} with {length} bytes; {left}")
                return None
            body = offset + RECORD_HEAD.size
            if body + length > size:
                reason = f"the file breaks off at byte {size}; it was not closed, or not copied whole"
                self.contents.end = self._damage(offset, reason)
                return None
            try:
                statistics = self._on_record(stream, opcode, offset, body, length) or statistics
            except Exception as error:  # damaged bytes can make the decoder raise anything
                left = f"the {size - offset} bytes from here on are not read"
                self.contents.end = self._damage(offset, f"{_described(error)}; {left}")
                return None
            offset = body + length
            if opcode == Opcode.FOOTER:
                stream.seek(offset)
                if stream.read(len(MAGIC)) != MAGIC:
                    self.contents.end = self._damage(offset, "the end mark is wrong; the file was cut or overwritten")
                elif left_bytes := size - stream.tell():
                    reason = f"{left_bytes} bytes after the end of the file are not read; was another one appended?"
                    self._add_damage(stream.tell(), reason)
                return statistics

    def _on_record(self, stream: BinaryIO, opcode: int, offset: int, body: int, length: int) -> Statistics | None:
        if opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.STATISTICS):
            check_size(length)
        if opcode == Opcode.SCHEMA:
            self._names.add_schema(stream.read(length), offset)
        elif opcode == Opcode.CHANNEL:
            self._names.add_channel(stream.read(length), offset)
        elif opcode == Opcode.STATISTICS:
            statistics: Statistics = Statistics.read(ReadDataStream(BytesIO(stream.read(length))))
            return statistics
        elif opcode == Opcode.CHUNK:
            start_ns, _, says_bytes, crc = _CHUNK.unpack(stream.read(_CHUNK.size))
            (name_length,) = struct.unpack("<I", stream.read(4))
            if name_length > 64:
                raise InvalidInput(f"a chunk whose compression has a name of {name_length} bytes")
            compression = stream.read(name_length).decode()
            (data_length,) = struct.unpack("<Q", stream.read(8))
            data_offset = body + _CHUNK.size + 4 + name_length + 8
            if data_offset + data_length > body + length:
                raise InvalidInput(f"a chunk of {length} bytes states {data_length} bytes of content")
            if left_bytes := body + length - data_offset - data_length:
                self._add_damage(offset, f"{left_bytes} bytes follow the content of a chunk of {length} bytes")
            self._pieces.append(FilePiece(start_ns, offset, data_offset, data_length, compression, says_bytes, crc))
            self._chunk_offsets.add(offset)
        elif opcode == Opcode.CHUNK_INDEX:
            _, _, chunk_offset = _CHUNK_INDEX.unpack(stream.read(_CHUNK_INDEX.size))
            if chunk_offset not in self._chunk_offsets:
                self._add_damage(chunk_offset, "the file's index names a chunk here, but there is none")
        elif opcode == Opcode.DATA_END:
            (crc,) = struct.unpack("<I", stream.read(4))
            # Chunks have their own checksums, so this one only matters for messages outside of chunks.
            if crc and any(piece.is_loose for piece in self._pieces) and _checksum(stream, offset) != crc:
                self._add_damage(offset, "the checksum of the messages is wrong; any of them may be damaged")
        elif opcode == Opcode.MESSAGE:
            _, _, stamp_ns, _ = MESSAGE_HEAD.unpack(stream.read(MESSAGE_HEAD.size))
            last = self._pieces[-1] if self._pieces else None
            if (
                last
                and last.is_loose
                and last.data_offset + last.data_length == offset
                and (last.data_length < _LOOSE_BYTES)
            ):
                last.data_length += RECORD_HEAD.size + length
                last.start_ns = min(last.start_ns, stamp_ns)
            else:
                self._pieces.append(FilePiece(stamp_ns, offset, offset, RECORD_HEAD.size + length))
        elif max(Opcode) < opcode < _PRIVATE:
            self._add_damage(offset, f"a record of type {opcode}, which is not known, with {length} bytes")
        return None

    def _unpack_all(self, stream: BinaryIO) -> dict[int, int]:
        """Unpack every chunk to find its topics. Returns the number of messages by channel."""
        counts: Counter[int] = Counter()
        for piece in self._pieces:
            try:
                stamps: list[int] = []
                for channel_id, stamp_ns, _, _ in messages_in(self._read(stream, piece)):
                    counts[channel_id] += 1
                    stamps.append(stamp_ns)
                piece.start_ns = min(stamps, default=piece.start_ns)
            except InvalidInput:
                continue  # reported as damage when the messages are read
        return counts

    def _read(self, stream: BinaryIO, piece: FilePiece) -> bytes:
        """The records of a piece. Adds the schemas and channels in it. Raises InvalidInput if it is damaged."""
        check_size(piece.says_bytes)
        check_size(piece.data_length)
        stream.seek(piece.data_offset)
        data = unpacked(stream.read(piece.data_length), piece.compression, piece.says_bytes)
        if piece.crc and zlib.crc32(data) != piece.crc:
            raise InvalidInput("the checksum of a chunk is wrong")
        if not piece.crc and not piece.is_loose and len(data) != piece.says_bytes:
            raise InvalidInput(f"it has {len(data)} bytes, not the {piece.says_bytes} that it states")
        for opcode, start, end in records_in(data):
            try:
                if opcode == Opcode.SCHEMA:
                    self._names.add_schema(data[start:end], piece.offset)
                elif opcode == Opcode.CHANNEL:
                    self._names.add_channel(data[start:end], piece.offset)
            except Exception as error:  # damaged bytes can make the decoder raise anything
                raise InvalidInput(_described(error)) from error
        return data


def _checksum(stream: BinaryIO, end: int) -> int:
    """CRC-32 of the file's bytes up to `end`."""
    stream.seek(0)
    crc = 0
    while end and (data := stream.read(min(end, 2**20))):
        crc = zlib.crc32(data, crc)
        end -= len(data)
    return crc


def _described(error: Any) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

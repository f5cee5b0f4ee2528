"""MCAP files read piece by piece, so that one damaged piece costs no other."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import InvalidInput


@dataclass(frozen=True)
class Record:
    """One message as it was recorded. `definition` is the .msg text of its type and of those in it, where there is."""

    topic: str
    message_type: str
    stamp_ns: int
    data: bytes
    definition: str = ""


@dataclass(frozen=True)
class Damage:
    """A part of a file that cannot be read: from this offset on, in bytes, and why."""

    path: Path
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path.name}: damaged at byte {self.offset}: {self.reason}"


def mcap_files(path: Path) -> list[Path]:
    """The MCAP files of a bag: the file itself, or those in the folder in the order of their names and numbers."""
    return sorted(path.glob("*.mcap"), key=_by_number) if path.is_dir() else [path] * (path.suffix == ".mcap")


def _by_number(path: Path) -> list[tuple[int, str]]:
    """A long recording is split into bag_0, bag_1, ..., of which bag_10 comes after bag_2."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part or 0), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


def read_records(path: Path) -> Iterator[Record | Damage]:
    """Messages of a bag's MCAP files in the order of the files, with the damaged parts in between.

    Neither metadata.yaml nor the index of the files is needed. A chunk that does not unpack is passed over; a file
    that breaks off, or in which the length of a record is wrong, is read up to there. Topics are named in the chunk
    where they begin and at the end of the file; where both are damaged, their messages are lost.
    Raises InvalidInput where there is no MCAP file, or one is no MCAP file at all.
    """
    files = mcap_files(path)
    if not files:
        raise InvalidInput(f"{path} holds no .mcap file; only MCAP bags are read piece by piece")
    for file in files:
        with open(file, "rb") as stream:
            yield from _read_file(file, stream)


def _read_file(path: Path, stream: io.BufferedReader) -> Iterator[Record | Damage]:
    try:
        from mcap.exceptions import EndOfFile, InvalidMagic
        from mcap.records import Channel, Chunk, Message, Schema
        from mcap.stream_reader import StreamReader, breakup_chunk
    except ImportError as error:
        raise InvalidInput("reading MCAP piece by piece needs mcap; pip install 'reasonseg_ros[evaluation]'") from error
    size = os.fstat(stream.fileno()).st_size
    schemas, channels = _named_at_the_end(stream, size)
    known: dict[type, dict[int, Any]] = {Schema: schemas, Channel: channels}
    stream.seek(0)
    records = iter(StreamReader(stream, emit_chunks=True, record_size_limit=size).records)
    offset = 0
    while True:
        offset = stream.tell()
        try:
            record = next(records)
        except StopIteration:
            return
        except InvalidMagic as error:
            if offset == 0:
                raise InvalidInput(f"{path} is no MCAP file; name a bag that was recorded as MCAP") from error
            yield Damage(path, stream.tell(), "the end mark is wrong; the file was cut or overwritten")
            return
        except EndOfFile:
            yield Damage(path, offset, f"the file breaks off at byte {size}; it was not closed, or not copied whole")
            return
        except Exception as error:  # whatever damaged bytes make of the decoder
            yield Damage(path, offset, f"{_told(error)}; the {size - offset} bytes from here on are not read")
            return
        if isinstance(record, Chunk):
            try:
                pieces = breakup_chunk(record, validate_crc=True)
            except Exception as error:
                yield Damage(path, offset, f"{_told(error)}; the messages of this chunk are lost")
                continue
        else:
            pieces = [record]
        nameless = 0
        for piece in pieces:
            if isinstance(piece, (Schema, Channel)):
                known[type(piece)][piece.id] = piece
            elif isinstance(piece, Message):
                channel = known[Channel].get(piece.channel_id)
                schema = known[Schema].get(channel.schema_id) if channel else None
                if channel is None or schema is None:
                    nameless += 1
                else:
                    definition = schema.data.decode(errors="replace") if schema.encoding == "ros2msg" else ""
                    yield Record(channel.topic, schema.name, piece.log_time, piece.data, definition)
        if nameless:
            yield Damage(path, offset, f"{nameless} messages of unknown topics; what names these is damaged")


def _named_at_the_end(stream: io.BufferedReader, size: int) -> tuple[dict[int, Any], dict[int, Any]]:
    """Schemas and channels by their ids from the end of a file; none where that is damaged or missing."""
    from mcap.reader import SeekingReader

    try:
        summary = SeekingReader(stream, record_size_limit=size).get_summary()
    except Exception:  # whatever damaged bytes make of the decoder
        return {}, {}
    return (dict(summary.schemas), dict(summary.channels)) if summary else ({}, {})


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

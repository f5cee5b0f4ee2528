"""Bags that other writers make: the mcap library, rosbags, and SQL."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from reasonseg_ros import bags
from reasonseg_ros.types import Query

SECOND = 10**9
Written = tuple[str, Any, int]
"""Topic, message and log time."""


def serialised(message: Any) -> bytes:
    return bytes(bags.typestore().serialize_cdr(message, message.__msgtype__))


def recording(count: int = 4, start_ns: int = SECOND, step_ns: int = SECOND) -> list[Written]:
    """Images of different grey, each followed by a question."""
    found: list[Written] = []
    for number in range(count):
        stamp_ns = start_ns + number * step_ns
        image = bags.image_message(np.full((6, 8, 3), number % 256, np.uint8), stamp_ns, "camera")
        found += [("/camera/image", image, stamp_ns)]
        found += [("/query", bags.query_message(Query(f"question {number}", f"q{number}")), stamp_ns + 1)]
    return found


def write_mcap(path: Path, messages: list[Written], definition: bytes = b"", **options: Any) -> Path:
    """An MCAP file of the mcap library, in the order of `messages`."""
    with path.open("wb") as stream:
        writer = McapWriter(stream, **options)
        writer.start(profile="ros2", library="test")
        channels: dict[str, int] = {}
        for topic, message, stamp_ns in messages:
            if topic not in channels:
                schema = writer.register_schema(message.__msgtype__, "ros2msg", definition)
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channels[topic], stamp_ns, serialised(message), stamp_ns)
        writer.finish()
    return path


def write_rosbag(path: Path, messages: list[Written], storage: str = "mcap", compression: str = "") -> Path:
    """A bag folder of rosbags. A text in the place of a message names the type of a topic without messages."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compression:
        writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, message, stamp_ns in messages:
            if topic not in connections:
                kind = message if isinstance(message, str) else message.__msgtype__
                connections[topic] = writer.add_connection(topic, kind, typestore=bags.typestore())
            if not isinstance(message, str):
                writer.write(connections[topic], stamp_ns, serialised(message))
    return path


def write_sqlite(path: Path, messages: list[Written], journal: str = "delete") -> sqlite3.Connection:
    """A database as rosbag2 of Foxy wrote it, still open."""
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA journal_mode={journal}")
    database.execute(
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, "
        "serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"
    )
    database.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)")
    numbers: dict[str, int] = {}
    for topic, message, stamp_ns in messages:
        if topic not in numbers:
            numbers[topic] = len(numbers) + 1
            values = (numbers[topic], topic, message.__msgtype__, "cdr", "")
            database.execute("INSERT INTO topics VALUES(?, ?, ?, ?, ?)", values)
        values = (numbers[topic], stamp_ns, serialised(message))
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", values)
    database.commit()
    return database


def expected(messages: list[Written]) -> list[tuple[str, int, bytes]]:
    """What a reader should give; of equal times, what was written first."""
    return sorted(((t, stamp_ns, serialised(m)) for t, m, stamp_ns in messages), key=lambda item: item[1])


def read(path: Path) -> list[tuple[str, int, bytes]]:
    with bags.BagReader(path) as bag:
        return list(bag.raw())


@pytest.fixture(scope="session")
def made() -> Any:
    """The functions above."""

    class Made:
        recording = staticmethod(recording)
        serialised = staticmethod(serialised)
        write_mcap = staticmethod(write_mcap)
        write_rosbag = staticmethod(write_rosbag)
        write_sqlite = staticmethod(write_sqlite)
        expected = staticmethod(expected)
        read = staticmethod(read)

    return Made

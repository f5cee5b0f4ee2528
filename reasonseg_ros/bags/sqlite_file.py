"""sqlite3 files of rosbag2, read in the order of log time, with what a killed recorder left in the write-ahead log."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reasonseg_ros.bags.records import Contents, Damage, Record, Topic
from reasonseg_ros.bags.unpacking import unpacked_message
from reasonseg_ros.errors import InvalidInput

MAGIC = b"SQLite format 3\0"
MOST_TOLD = 20
"""Rows that are told one by one."""
_LOGS = ("-wal", "-journal")


class SqliteFile:
    """One .db3 file. `path` names it in messages; `source` is where its bytes are.

    `copies_folder` makes a folder for a copy, if the file cannot be read without a change in its own.
    """

    def __init__(self, path: Path, source: Path, copies_folder: Callable[[], Path]) -> None:
        self.path = path
        self.contents = Contents()
        self._copies_folder = copies_folder
        self._source = source
        with self._source.open("rb") as stream:
            if (begin := stream.read(len(MAGIC))) != MAGIC:
                what = "is empty" if not begin else "is no sqlite3 file"
                raise InvalidInput(f"{path} {what}; name a bag that was recorded as sqlite3")
        self._topics: dict[Any, Topic] = {}
        try:
            with self._connected() as database:
                self._scan(database)
        except sqlite3.Error as error:
            raise InvalidInput(f"{path} is not a bag that can be read: {error}") from error

    def records(self, topics: Collection[str]) -> Iterator[Record | Damage]:
        chosen = {key for key, topic in self._topics.items() if topic.name in topics and not topic.cannot_read}
        everything = len(chosen) == len(self._topics)
        last_ns = damaged_rows = 0
        # Sorted by row first, so that no message is in memory before its turn.
        order = "SELECT id FROM messages ORDER BY timestamp, id"
        query = f"SELECT m.id, m.topic_id, m.timestamp, m.data FROM ({order}) o JOIN messages m ON m.id = o.id"
        try:
            with self._connected() as database:
                for row, key, stamp_ns, data in database.execute(query):
                    if key not in chosen and (key in self._topics or not everything):
                        continue
                    record = self._record(row, key, stamp_ns, data)
                    last_ns = record.stamp_ns or last_ns
                    damaged_rows += isinstance(record, Damage)
                    if isinstance(record, Record) or damaged_rows <= MOST_TOLD:
                        yield record
        except sqlite3.Error as error:
            yield Damage(self.path, "an unknown row", f"{error}; the messages from here on are lost", last_ns)
        if damaged_rows > MOST_TOLD:
            yield Damage(self.path, "further rows", f"{damaged_rows - MOST_TOLD} more are as these", last_ns)

    def _record(self, row: Any, key: Any, stamp_ns: Any, data: Any) -> Record | Damage:
        place = f"row {row}"
        if key not in self._topics:
            return Damage(self.path, place, f"its topic {key!r:.50} is not listed")
        if type(stamp_ns) is not int:
            return Damage(self.path, place, f"its timestamp is a {type(stamp_ns).__name__}, not a whole number")
        if not isinstance(data, bytes):
            return Damage(self.path, place, f"its data is a {type(data).__name__}, not bytes", stamp_ns)
        try:
            content = unpacked_message(data)
        except InvalidInput as error:
            return Damage(self.path, place, str(error), stamp_ns)
        return Record(self._topics[key], stamp_ns, content)

    def _scan(self, database: sqlite3.Connection) -> None:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if missing := sorted({"topics", "messages"} - tables):  # a view of that name could compute anything
            raise InvalidInput(f"{self.path} is not a bag: it has no table {' and '.join(missing)}")
        definitions = {}
        with suppress(sqlite3.Error):  # a table of newer versions
            rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
            definitions = {kind: (encoding, text) for kind, encoding, text in rows}
        columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        for key, name, kind, encoding, offered in database.execute(
            f"SELECT id, name, type, serialization_format, {qos} FROM topics"
        ):
            encoded, text = definitions.get(kind, ("", ""))
            cannot_read = "" if encoding == "cdr" else f"its messages are {encoding!s:.50}, not CDR"
            if not isinstance(name, str) or not isinstance(kind, str):
                cannot_read = "its name or type is no text"
            topic = Topic(
                str(name),
                str(kind),
                text if isinstance(text, str) else "",
                "ros2idl" if encoded == "ros2idl" else "ros2msg",
                offered if isinstance(offered, str) else "",
                cannot_read,
            )
            self._topics[key] = topic
            self.contents.counts[topic] += 0
        counts: Counter[Any] = Counter()
        with suppress(sqlite3.DatabaseError):  # a damaged page; it is told when the messages are read
            for (key,) in database.execute("SELECT topic_id FROM messages"):
                counts[key] += 1
        for key, topic in self._topics.items():
            self.contents.counts[topic] += counts[key]
        with suppress(sqlite3.DatabaseError):
            first_integer = "SELECT min(timestamp) FROM messages WHERE typeof(timestamp) = 'integer'"
            (self.contents.start_ns,) = database.execute(first_integer).fetchone()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection that changes nothing in the bag. Raises sqlite3.Error.

        If a recorder was killed, its write-ahead log or journal lies beside the file, and sqlite3 takes it over. Where
        that is not possible in place (a read-only folder, an unfinished transaction), copies are read.
        """
        shared = Path(f"{self._source}-shm")
        was_shared = shared.exists()
        with closing(self._connection()) as database:
            yield database
        if not was_shared:  # sqlite3 makes it for a write-ahead log, and leaves it when it may not write the file
            with suppress(OSError):
                shared.unlink(missing_ok=True)

    def _connection(self) -> sqlite3.Connection:
        logs = [path for end in _LOGS if (path := Path(f"{self._source}{end}")).is_file() and path.stat().st_size]
        if not logs:
            return self._open(self._source, "ro&immutable=1")  # for read-only folders
        try:
            return self._open(self._source, "ro")
        except sqlite3.Error:
            folder = self._copies_folder()
        for path in (self._source, *logs):
            shutil.copyfile(path, folder / path.name)
        self._source = folder / self._source.name
        with closing(self._open(self._source, "rw")) as database:
            database.execute("PRAGMA journal_mode=DELETE")  # takes the log over
        return self._open(self._source, "ro&immutable=1")

    @staticmethod
    def _open(path: Path, mode: str) -> sqlite3.Connection:
        database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, check_same_thread=False)
        database.execute("PRAGMA trusted_schema=OFF")
        database.text_factory = lambda data: data.decode(errors="replace")
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            database.close()
            raise
        return database

"""Reads sqlite3 files of rosbag2 in the order of log time, including the write-ahead log of a killed recorder."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reasonseg_ros.bags.records import Contents, Damage, Record, Topic
from reasonseg_ros.bags.unpacking import MOST_BYTES, unpacked_message
from reasonseg_ros.errors import InvalidInput

MAGIC = b"SQLite format 3\0"
MOST_REPORTED = 20
"""Damaged rows that are reported one by one."""
_LOGS = ("-wal", "-journal")


class SqliteFile:
    """One .db3 file. `path` names it in messages; its bytes are read from `source`.

    `copies_folder` makes a folder for a copy, which is needed if the file cannot be read without changing its folder.
    """

    def __init__(self, path: Path, source: Path, copies_folder: Callable[[], Path]) -> None:
        self.path = path
        self.contents = Contents()
        self._copies_folder = copies_folder
        self._source = source.resolve()  # sqlite3 keeps the logs beside the file, not beside a link to it
        with self._source.open("rb") as stream:
            if (begin := stream.read(len(MAGIC))) != MAGIC:
                what = "is empty" if not begin else "is no sqlite3 file"
                raise InvalidInput(f"{path} {what}; name a bag that was recorded as sqlite3")
        self._topics: dict[Any, Topic] = {}
        self._gap: Damage | None = None
        try:
            with self._connected() as database:
                self._scan(database)
        except sqlite3.Error as error:
            raise InvalidInput(f"{path} is not a bag that can be read: {error}") from error

    def records(self, topics: Collection[str]) -> Iterator[Record | Damage]:
        chosen = {key for key, topic in self._topics.items() if topic.name in topics and not topic.cannot_read}
        everything = len(chosen) == len(self._topics)
        last_ns = damaged_rows = lost = 0
        first_lost = ""
        try:
            with self._connected() as database:
                for row, key in self._rows_in_order(database):
                    if key not in chosen and (key in self._topics or not everything):
                        continue
                    query = "SELECT timestamp, data FROM messages WHERE rowid = ?"
                    try:
                        found = database.execute(query, (row,)).fetchone()
                        reason = "it is not found"
                    except sqlite3.Error as error:
                        found, reason = None, str(error)
                    if found is None:
                        lost += 1
                        first_lost = first_lost or f"row {row}: {reason}"
                        continue
                    record = self._record(row, key, *found)
                    last_ns = record.stamp_ns or last_ns
                    damaged_rows += isinstance(record, Damage)
                    if isinstance(record, Record) or damaged_rows <= MOST_REPORTED:
                        yield record
        except sqlite3.Error as error:
            yield Damage(self.path, "an unknown row", f"{error}; the messages from here on are lost", last_ns)
        if damaged_rows > MOST_REPORTED:
            yield Damage(self.path, "further rows", f"{damaged_rows - MOST_REPORTED} more like these", last_ns)
        if self._gap is not None:
            yield replace(self._gap, stamp_ns=last_ns)
        if lost:
            yield Damage(self.path, first_lost.partition(":")[0], f"{lost} messages are lost, {first_lost}", last_ns)

    def _rows_in_order(self, database: sqlite3.Connection) -> Iterable[tuple[Any, Any]]:
        """Row and topic of each message in order. Only these are sorted, so messages are not in memory all at once."""
        if self._gap is None:
            # The plus keeps sqlite3 from an index, which may be damaged.
            return database.execute("SELECT rowid, topic_id FROM messages ORDER BY +timestamp, rowid")
        found = sorted((stamp if type(stamp) is int else 0, row, key) for row, key, stamp in self._readable(database))
        return ((row, key) for _, row, key in found)

    def _readable(self, database: sqlite3.Connection) -> Iterator[tuple[Any, Any, Any]]:
        """Row, topic and timestamp of the messages, unsorted. Those on damaged pages are left out, see `_gap`."""
        query = "SELECT rowid, topic_id, timestamp FROM messages ORDER BY rowid"
        begin = 0
        try:
            for begin, key, stamp in database.execute(query):
                yield begin, key, stamp
            return
        except sqlite3.Error as error:
            reason = error
        end = None
        with suppress(sqlite3.Error):  # back from the last row to the damaged page
            for row, key, stamp in database.execute(f"{query} DESC"):
                if row <= begin:
                    break
                end = row
                yield row, key, stamp
        place = f"row {begin + 1} on" if end is None else f"rows {begin + 1} to {end - 1}"
        self._gap = Damage(self.path, place, f"{reason}; these messages are lost")

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
        with suppress(sqlite3.Error):  # only newer versions have this table
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
                cannot_read = "its name or type is not text"
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
        for _, key, stamp_ns in self._readable(database):
            counts[key] += 1
            if type(stamp_ns) is int and (self.contents.start_ns is None or stamp_ns < self.contents.start_ns):
                self.contents.start_ns = stamp_ns
        for key, topic in self._topics.items():
            self.contents.counts[topic] += counts[key]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection that changes nothing in the bag. Raises sqlite3.Error.

        A killed recorder leaves its write-ahead log or journal beside the file, and sqlite3 applies it. If that is not
        possible in place (a read-only folder, an unfinished transaction), copies are read.
        """
        shared = Path(f"{self._source}-shm")
        was_shared = shared.exists()
        with closing(self._connection()) as database:
            yield database
        if not was_shared:  # sqlite3 makes it for a write-ahead log, and leaves it behind in read-only mode
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
            database.execute("PRAGMA journal_mode=DELETE")  # applies the log
        return self._open(self._source, "ro&immutable=1")

    @staticmethod
    def _open(path: Path, mode: str) -> sqlite3.Connection:
        database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode={mode}", uri=True, check_same_thread=False)
        database.execute("PRAGMA trusted_schema=OFF")
        if sys.version_info >= (3, 11):  # a computed column could be of any size
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        database.text_factory = lambda data: data.decode(errors="replace")
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            database.close()
            raise
        return database

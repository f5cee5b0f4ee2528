"""Every bag through one reader: MCAP or sqlite3, one file or many, whole or damaged, in the order of log time."""

from __future__ import annotations

import heapq
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from reasonseg_ros.bags.files import METADATA, bag_files
from reasonseg_ros.bags.mcap_file import McapFile
from reasonseg_ros.bags.messages import typestore
from reasonseg_ros.bags.records import BagFile, Damage, Record, Topic
from reasonseg_ros.bags.sqlite_file import SqliteFile
from reasonseg_ros.bags.unpacking import unpack_file
from reasonseg_ros.errors import InvalidInput


class BagReader:
    """Reads a bag: a folder, or one file of it. Use it in a `with` statement, and iterate as often as needed.

    Attributes:
        topics: message type of every topic whose messages can be read; those without messages are among them.
        counts: messages of each of these topics, by metadata.yaml or by the files' own count, whichever is more.
        skipped: topics whose messages cannot be read (JSON, protobuf, no type): the reason and the number of messages.
        read: messages of each topic that the last complete `records` gave.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises InvalidInput if there is no bag at `path`."""
        self.path = Path(path)
        self._names, self._metadata = bag_files(self.path)
        self.topics: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.skipped: dict[str, tuple[str, int]] = {}
        self.read: Counter[str] = Counter()
        self._files: list[BagFile] = []
        self._damages: list[Damage] = []
        self._topics: dict[str, Topic] = {}
        self._copies: Path | None = None

    def __enter__(self) -> BagReader:
        """Raises InvalidInput if not one of the files can be read."""
        try:
            self._open()
        except BaseException:
            self._remove_copies()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_copies()

    def _copies_folder(self) -> Path:
        """A private folder for unpacked or copied files, made when it is needed and removed at the end."""
        if self._copies is None:
            self._copies = Path(tempfile.mkdtemp(prefix="reasonseg_bag_"))
        return self._copies

    def _remove_copies(self) -> None:
        if self._copies is not None:
            shutil.rmtree(self._copies, ignore_errors=True)
            self._copies = None

    def _open(self) -> None:
        reasons = []
        for path in self._names:
            try:
                self._files.append(self._file(path))
            except (InvalidInput, OSError) as error:
                reason = str(error) if isinstance(error, InvalidInput) else f"{path}: {error.strerror}"
                reasons.append(reason)
                self._damages.append(Damage(path, "byte 0", f"{reason}; its messages are lost"))
        if not self._files:
            raise InvalidInput(f"{self.path} is not a bag that can be read: {'; '.join(reasons)}")
        ends = [file.contents.end for file in self._files if file.contents.end]
        if ends and not self._metadata.files and not any(file.contents.topics for file in self._files):
            raise InvalidInput(f"{self.path} is not a bag that can be read: {'; '.join(map(str, ends))}")
        counted: Counter[str] = Counter()
        for file in self._files:
            for name, topic in file.contents.topics.items():
                self._topics.setdefault(name, topic)
            counted += file.contents.counts
        for name, topic in self._topics.items():
            count = max(counted[name], self._metadata.counts[name])
            if topic.cannot_read:
                self.skipped[name] = topic.cannot_read, count
            else:
                self.topics[name], self.counts[name] = topic.message_type, count

    def _file(self, path: Path) -> BagFile:
        if not path.is_file():
            raise InvalidInput(f"{path} is not there, and {METADATA} names it")
        source, broken = path, ""
        if path.suffix == ".zstd":
            source, broken = unpack_file(path, self._copies_folder())
        if broken:
            self._damages.append(Damage(path, "an unknown place", broken))
        return SqliteFile(path, source, self._copies_folder) if source.suffix == ".db3" else McapFile(path, source)

    @property
    def notes(self) -> list[str]:
        """What was skipped or ignored on purpose, a line each."""
        lines = [f"{name}: {count} messages skipped, {reason}" for name, (reason, count) in self.skipped.items()]
        if self._metadata.problem:
            lines.append(f"{METADATA} {self._metadata.problem}; every bag file in the folder is read instead")
        return lines

    def offered_qos(self, topic: str) -> str:
        """YAML of the quality of service that the topic's publishers offered; empty if it was not recorded."""
        return self._metadata.qos.get(topic) or self._topics[topic].offered_qos

    def records(self, topics: Sequence[str] = ()) -> Iterator[Record | Damage]:
        """Messages in the order of log time, over all files, with damaged parts in between. No topics means all.

        Raises InvalidInput for a topic that the bag does not have.
        """
        chosen = self._chosen(topics)
        read: Counter[str] = Counter()
        yield from self._damages
        for item in _merged(self._files, chosen):
            if isinstance(item, Record):
                read[item.topic.name] += 1
            yield item
        self.read = read

    def shortfalls(self, topics: Sequence[str] = ()) -> dict[str, str]:
        """Topics with fewer messages than were counted, in words. Call it after `records` of the same topics."""
        expected = {name: self.counts[name] for name in self._chosen(topics)}
        if not topics:  # topics that no file has
            expected |= {name: n for name, n in self._metadata.counts.items() if n and name not in self._topics}
        lines = {}
        for name, count in expected.items():
            if self.read[name] < count:
                source = METADATA if self._metadata.counts[name] == count else "the bag's own index"
                lines[name] = f"{name}: {self.read[name]} of the {count} messages that {source} counts were read"
        return lines

    def raw(self, topics: Sequence[str] = ()) -> Iterator[tuple[str, int, bytes]]:
        """Topic, log time in nanoseconds and CDR bytes, in the order of log time. No topics means all.

        Raises InvalidInput at the first damaged part, and at the end if messages are missing.
        """
        for record in self._whole(topics):
            yield record.topic.name, record.stamp_ns, record.data

    def messages(self, topics: Sequence[str] = ()) -> Iterator[tuple[str, int, Any]]:
        """Topic, log time in nanoseconds and message, otherwise as `raw`."""
        for record in self._whole(topics):
            yield record.topic.name, record.stamp_ns, decoded(record)

    def _whole(self, topics: Sequence[str]) -> Iterator[Record]:
        for item in self.records(topics):
            if isinstance(item, Damage):
                raise InvalidInput(f"{self.path}: {item}")
            yield item
        if missing := self.shortfalls(topics):
            raise InvalidInput(f"{self.path}: {'; '.join(missing.values())}")

    def _chosen(self, topics: Sequence[str]) -> Collection[str]:
        if missing := set(topics) - set(self.topics):
            known = ", ".join(sorted(self.topics)) or "no topic"
            raise InvalidInput(f"{self.path} has no topic {', '.join(sorted(missing))}; it has {known}")
        return set(topics) or set(self.topics)


def decoded(record: Record) -> Any:
    """The message of a record, by the bag's own definition of its type. Raises InvalidInput if it is damaged."""
    topic = record.topic
    try:
        store = store_of(topic.message_type, topic.definition, topic.definition_format)
        return store.deserialize_cdr(record.data, topic.message_type)
    # Damaged bytes make the decoder raise nearly anything.
    except Exception as error:
        told = str(error) or type(error).__name__
        raise InvalidInput(f"{len(record.data)} bytes are not a {topic.message_type}: {told}") from error


@lru_cache(maxsize=256)
def store_of(message_type: str, definition: str, definition_format: str = "ros2msg") -> Typestore:
    """Types by the bag's own definition, because another version of a package has other fields; else by ours."""
    if not definition.strip():
        return typestore()
    try:
        store = get_typestore(Stores.EMPTY)
        if definition_format == "ros2idl":
            store.register(get_types_from_idl(definition))
        else:
            store.register(get_types_from_msg(definition, message_type))
        store.generate_msgdef(message_type)  # whether all types in it are defined
        return store
    except (TypesysError, KeyError, ValueError, RecursionError):
        return typestore()


def _merged(files: Sequence[BagFile], topics: Collection[str]) -> Iterator[Record | Damage]:
    """Items of all files in the order of log time. A file is opened when its time comes."""
    left = sorted(enumerate(files), key=lambda item: (item[1].contents.start_ns or 0, item[0]), reverse=True)
    running: list[tuple[int, int, Record | Damage, Iterator[Record | Damage]]] = []

    def advance(number: int, items: Iterator[Record | Damage]) -> None:
        if (item := next(items, None)) is not None:
            heapq.heappush(running, (item.stamp_ns, number, item, items))

    while running or left:
        while left and (not running or (left[-1][1].contents.start_ns or 0) <= running[0][0]):
            number, file = left.pop()
            advance(number, iter(file.records(topics)))
        if running:
            _, number, item, items = heapq.heappop(running)
            yield item
            advance(number, items)

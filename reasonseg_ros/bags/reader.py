"""Reads all kinds of bags in the order of log time: MCAP or sqlite3, one file or several, complete or damaged."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from reasonseg_ros.bags.definitions import conformed, decoded
from reasonseg_ros.bags.files import METADATA, bag_files
from reasonseg_ros.bags.mcap.file import MAGIC as MCAP_MAGIC
from reasonseg_ros.bags.mcap.file import McapFile
from reasonseg_ros.bags.records import BagFile, Damage, Record, Topic, merged
from reasonseg_ros.bags.sqlite_file import MAGIC as SQLITE_MAGIC
from reasonseg_ros.bags.sqlite_file import SqliteFile
from reasonseg_ros.bags.unpacking import ZSTD_MAGIC, unpack_file
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.plain_text import one_line


class BagReader:
    """Reads a bag: a folder, or one file of it. Use it in a `with` statement, and iterate as often as needed.

    Attributes:
        topics: message type of every topic whose messages can be read, including topics without messages.
        counts: number of messages of these topics: the larger one of metadata.yaml's count and the files' own.
        skipped: topics whose messages cannot be read (JSON, protobuf, no type): the reason and the number of messages.
        read: number of messages by topic in the last complete iteration over `records`.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises InvalidInput if there is no bag at `path`."""
        self.path = Path(path)
        self._names, self._left_out, self._metadata = bag_files(self.path)
        self.topics: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.skipped: dict[str, tuple[str, int]] = {}
        self.read: Counter[str] = Counter()
        self._files: list[BagFile] = []
        self._damages: list[Damage] = []
        self._topics: dict[str, Topic] = {}
        self._other_types: set[tuple[str, str]] = set()
        self._copies: Path | None = None

    def __enter__(self) -> BagReader:
        """Raises InvalidInput if none of the files can be read."""
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
        """A private folder for unpacked or copied files. It is made when needed and removed at the end."""
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
        if ends and not self._metadata.files and not any(file.contents.counts for file in self._files):
            raise InvalidInput(f"{self.path} is not a bag that can be read: {'; '.join(map(str, ends))}")
        counted: Counter[str] = Counter()
        for topic, count in ((topic, n) for file in self._files for topic, n in file.contents.counts.items()):
            reason = topic.cannot_read
            if not reason:
                known = self._topics.setdefault(topic.name, topic)
                if known.message_type != topic.message_type:
                    reason = f"they are {topic.message_type}, but others on this topic are {known.message_type}"
                    self._other_types.add((topic.name, topic.message_type))
            if reason:
                self._skip(topic.name, reason, count)
            else:
                counted[topic.name] += count
        for name, topic in self._topics.items():
            self.topics[name] = topic.message_type
            in_metadata = self._metadata.counts[name] - self.skipped.get(name, ("", 0))[1]
            self.counts[name] = max(counted[name], in_metadata)
        for name in self.skipped.keys() - self.topics.keys():
            reason, count = self.skipped[name]
            self.skipped[name] = reason, max(count, self._metadata.counts[name])

    def _skip(self, name: str, reason: str, count: int) -> None:
        known, before = self.skipped.get(name, (reason, 0))
        self.skipped[name] = known, before + count

    def _file(self, path: Path) -> BagFile:
        if not path.is_file():
            raise InvalidInput(f"{path} is missing, but {METADATA} names it")
        source, begin = path, _first_bytes(path)
        if begin.startswith(ZSTD_MAGIC):
            source, broken = unpack_file(path, self._copies_folder())
            begin = _first_bytes(source)
            if broken and not begin:
                raise InvalidInput(f"{path.name}: {broken}")
            if broken:
                self._damages.append(Damage(path, "an unknown place", broken))
        # The first bytes tell the format. metadata.yaml may not state it, and the name may be wrong.
        if begin.startswith(SQLITE_MAGIC) or (source.suffix == ".db3" and not begin.startswith(MCAP_MAGIC)):
            return SqliteFile(path, source, self._copies_folder)
        return McapFile(path, source)

    @property
    def notes(self) -> list[str]:
        """One line for each thing that was skipped or ignored on purpose."""
        lines = [f"{name}: {count} messages skipped, {reason}" for name, (reason, count) in self.skipped.items()]
        if self._metadata.problem:
            lines.append(f"{METADATA} {self._metadata.problem}; every bag file in the folder is read instead")
        if self._left_out:
            names = ", ".join(path.name for path in self._left_out)
            why = f"{METADATA} does not name it" if self._metadata.files else "the same or another bag in the folder"
            lines.append(f"not read: {names} ({why})")
        lines += self._copies_in_folder()
        return [one_line(line) for line in lines]

    def _copies_in_folder(self) -> Iterator[str]:
        """Notes on possible copies: without metadata.yaml they look like parts of a split recording."""
        known: dict[int, str] = {}
        for file in self._files if not self._metadata.files else ():
            first_ns = file.contents.start_ns
            if first_ns in known:
                yield f"{known[first_ns]} and {file.path.name} begin at the same time; if one is a copy, move it away"
            elif first_ns is not None:
                known[first_ns] = file.path.name

    def descriptions(self, topic: str) -> Counter[Topic]:
        """The descriptions of a topic, with their number of messages. Several publishers or files may differ."""
        found: Counter[Topic] = Counter()
        for file in self._files:
            for known, count in file.contents.counts.items():
                if known.name == topic and not known.cannot_read and known.message_type == self.topics[topic]:
                    found[known] += count
        return found

    def offered_qos(self, topic: str) -> list[str]:
        """The recorded quality of service of the topic's publishers as YAML, from metadata.yaml and from each file."""
        of_files = [known.offered_qos for file in self._files for known in file.contents.counts if known.name == topic]
        return [text for text in (self._metadata.qos.get(topic, ""), *dict.fromkeys(of_files)) if text]

    def records(self, topics: Sequence[str] = ()) -> Iterator[Record | Damage]:
        """Messages of all files in the order of log time, with `Damage` for damaged parts. No topics means all.

        Raises InvalidInput for a topic that the bag does not have.
        """
        chosen = self._chosen(topics)
        read: Counter[str] = Counter()
        yield from self._damages
        for item in merged([(file.contents.start_ns or 0, partial(file.records, chosen)) for file in self._files]):
            if isinstance(item, Record):
                if (item.topic.name, item.topic.message_type) in self._other_types:
                    continue
                if not item.data.startswith(b"\0"):
                    reason = f"a message on {item.topic.name} begins with {item.data[:4]!r}, which is not CDR"
                    yield Damage(self.path, f"log time {item.stamp_ns} ns", reason, item.stamp_ns)
                    continue
                read[item.topic.name] += 1
            yield item
        self.read = read

    def shortfalls(self, topics: Sequence[str] = ()) -> dict[str, str]:
        """A line for each topic with fewer messages than counted. Call it after `records` of the same topics."""
        expected = {name: self.counts[name] for name in sorted(self._chosen(topics))}
        lines = {} if topics else self.absent()
        for name, count in expected.items():
            if self.read[name] < count:
                source = METADATA if self._metadata.counts[name] == count else "the bag's own index"
                lines[name] = f"{name}: {self.read[name]} of the {count} messages that {source} counts were read"
        return lines

    def absent(self) -> dict[str, str]:
        """A line for each topic that has messages in metadata.yaml but is in none of the files."""
        known = self._topics.keys() | self.skipped.keys()
        counts = {name: count for name, count in self._metadata.counts.items() if count and name not in known}
        return {
            name: f"{name}: 0 of the {count} messages that {METADATA} counts were read; no file has this topic"
            for name, count in sorted(counts.items())
        }

    def raw(self, topics: Sequence[str] = ()) -> Iterator[tuple[str, int, bytes]]:
        """Topic, log time in nanoseconds and CDR bytes as `typestore()` defines them, in the order of log time.

        No topics means all. Raises InvalidInput at the first damaged part, at a message that cannot be converted to
        that definition, and at the end if messages are missing.
        """
        for record in self._whole(topics):
            yield record.topic.name, record.stamp_ns, conformed(record)

    def messages(self, topics: Sequence[str] = ()) -> Iterator[tuple[str, int, Any]]:
        """As `raw`, with the decoded message instead of the bytes."""
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


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(16)

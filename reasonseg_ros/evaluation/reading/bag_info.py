"""A summary of a bag's content, and of what cannot be read."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonseg_ros.bags import (
    BagReader,
    Damage,
    Record,
    conformed,
    decoded,
    header_stamp_ns,
    of_this_version,
    raw_stamp_ns,
)
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.topics import GROUND_TRUTH, IMAGES
from reasonseg_ros.plain_text import one_line


@dataclass
class BagInfo:
    """Contents of a bag.

    Attributes:
        types, messages: message type, and number of readable messages, by topic.
        kinds, splits: number of ground truths by kind of question and by split; the key is empty if it is not stated.
        questions: ids of the questions with ground truth.
        stamps_asked_about: header stamps, in nanoseconds, of the images with ground truth.
        first_ns, last_ns: log times of the first and the last message.
        damages: one line for each part that cannot be read.
        missing: one line for each topic with fewer messages than the bag's metadata counts.
        notes: what was skipped or replaced on purpose.
        unstamped: number of images whose header stamp is 0.
    """

    types: dict[str, str] = field(default_factory=dict)
    messages: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    questions: set[str] = field(default_factory=set)
    stamps_asked_about: set[int] = field(default_factory=set)
    first_ns: int | None = None
    last_ns: int | None = None
    damages: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unstamped: int = 0

    @property
    def is_whole(self) -> bool:
        return not (self.damages or self.missing)

    @property
    def duration_s(self) -> float:
        return 0.0 if self.first_ns is None or self.last_ns is None else (self.last_ns - self.first_ns) / 1e9

    def lines(self) -> list[str]:
        lines = [f"duration: {self.duration_s:.3f} s", f"messages: {sum(self.messages.values())}"]
        lines += [f"  {topic} ({self.types[topic]}): {count}" for topic, count in sorted(self.messages.items())]
        truths = sum(self.kinds.values())
        if truths:
            asked = f"{len(self.questions)} questions about {len(self.stamps_asked_about)} images"
            lines += [f"ground truths: {truths}, of {asked}", _counted("kinds", self.kinds)]
            lines.append(_counted("splits", self.splits))
        lines.append(f"damaged parts: {len(self.damages)}")
        lines += [f"  {damage}" for damage in self.damages]
        lines += [f"missing: {line}" for line in self.missing]
        lines += [f"note: {line}" for line in self.notes]
        return [("  " if line.startswith("  ") else "") + one_line(line) for line in lines]


def _counted(name: str, counts: Counter[str]) -> str:
    return f"{name}: " + ", ".join(f"{key or 'not stated'} {count}" for key, count in sorted(counts.items()))


def bag_info(path: Path) -> BagInfo:
    """Read all of a bag. Raises InvalidInput if there is none, or if nothing can be read."""
    info = BagInfo()
    with BagReader(path) as reader:
        info.types = dict(reader.topics)
        info.messages = Counter(dict.fromkeys(reader.topics, 0))
        info.notes = reader.notes
        for item in reader.records():
            if isinstance(item, Damage):
                info.damages.append(str(item))
            else:
                _add(info, item)
        info.missing = list(reader.shortfalls().values())
    if info.unstamped:
        info.notes.append(f"{info.unstamped} images without a header stamp; evaluations use their log time")
    return info


def _add(info: BagInfo, record: Record) -> None:
    topic = record.topic
    info.messages[topic.name] += 1
    info.first_ns = record.stamp_ns if info.first_ns is None else min(info.first_ns, record.stamp_ns)
    info.last_ns = record.stamp_ns if info.last_ns is None else max(info.last_ns, record.stamp_ns)
    if topic.message_type in IMAGES:
        with suppress(InvalidInput):  # damaged, or without a header
            info.unstamped += raw_stamp_ns(conformed(record)) == 0
    if topic.message_type != GROUND_TRUTH:
        return
    try:
        truth: Any = of_this_version(decoded(record), GROUND_TRUTH)
    except InvalidInput as error:
        info.damages.append(f"{topic.name} at {record.stamp_ns} ns: {error}")
        return
    info.kinds[truth.kind] += 1
    info.splits[truth.split] += 1
    info.questions.add(truth.query_id)
    info.stamps_asked_about.add(header_stamp_ns(truth.header))

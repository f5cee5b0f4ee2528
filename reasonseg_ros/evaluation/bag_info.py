"""What a bag holds, as far as it can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonseg_ros.bags import BagReader, header_stamp_ns, typestore
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.damaged_bag import Damage, Record, mcap_files, read_records
from reasonseg_ros.evaluation.topics import GROUND_TRUTH
from reasonseg_ros.plain_text import one_line


@dataclass
class BagInfo:
    """Contents of a bag.

    Attributes:
        messages: message type and number of messages of each topic.
        kinds, splits: number of ground truths of each kind of question and split; the empty text where not told.
        images_asked_about: number of different images with ground truth.
        damages: one line for each part that cannot be read.
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
        return [("  " if line.startswith("  ") else "") + one_line(line) for line in lines]


def _counted(name: str, counts: Counter[str]) -> str:
    return f"{name}: " + ", ".join(f"{key or 'not told'} {count}" for key, count in sorted(counts.items()))


def bag_info(path: Path) -> BagInfo:
    """Read all of a bag. Raises InvalidInput where there is none, or nothing of it can be read."""
    if not path.exists():
        raise InvalidInput(f"there is no bag at {path}")
    info = BagInfo()
    for entry in read_records(path) if mcap_files(path) else _other_storage(path):
        if isinstance(entry, Damage):
            info.damages.append(str(entry))
        else:
            _add(info, entry)
    return info


def _other_storage(path: Path) -> Iterator[Record]:
    with BagReader(path) as reader:
        for topic, stamp_ns, data in reader.raw():
            yield Record(topic, reader.topics[topic], stamp_ns, data)


def _add(info: BagInfo, record: Record) -> None:
    info.types[record.topic] = record.message_type
    info.messages[record.topic] += 1
    info.first_ns = record.stamp_ns if info.first_ns is None else min(info.first_ns, record.stamp_ns)
    info.last_ns = record.stamp_ns if info.last_ns is None else max(info.last_ns, record.stamp_ns)
    if record.message_type != GROUND_TRUTH:
        return
    try:
        truth: Any = typestore().deserialize_cdr(record.data, GROUND_TRUTH)
    except Exception as error:  # whatever damaged bytes make of the decoder
        info.damages.append(f"{record.topic} at {record.stamp_ns} ns is no {GROUND_TRUTH}: {error}")
        return
    info.kinds[truth.kind] += 1
    info.splits[truth.split] += 1
    info.questions.add(truth.query_id)
    info.stamps_asked_about.add(header_stamp_ns(truth.header))

"""The messages of a bag that an evaluation needs, also of a damaged one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from reasonseg_ros.bags import BagReader, typestore
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.damaged_bag import Damage, Record, mcap_files, read_records
from reasonseg_ros.evaluation.questions import TimedQuestion
from reasonseg_ros.evaluation.samples import OnImage, Sample, SampleStream, Unreadable
from reasonseg_ros.evaluation.topics import GROUND_TRUTH, QUERY, Topics, find_topics

Message = tuple[str, int, Any]
"""Topic, stamp of the recording in nanoseconds, and the message or the error that came instead of it."""


def read_bags(
    bags: Sequence[Path],
    image_topic: str = "",
    kinds: Sequence[str] = (),
    questions: Sequence[TimedQuestion] = (),
    on_image: OnImage | None = None,
) -> Iterator[Sample | Unreadable]:
    """The samples of one bag after the other. Where there are several, ids begin with their bag's name."""
    if len(bags) == 1:
        yield from read_samples(bags[0], image_topic, kinds, questions, on_image)
        return
    for name, bag in zip(bag_names(bags), bags, strict=True):
        for item in read_samples(bag, image_topic, kinds, questions, on_image):
            sample_id = f"{name}/{item.sample_id}" if item.sample_id else ""
            if isinstance(item, Unreadable):
                yield replace(item, sample_id=sample_id, reason=f"{name}: {item.reason}")
            else:
                expression = f"{name}/{item.expression}" if item.expression else ""
                yield replace(item, sample_id=sample_id, expression=expression, bag=name)


def bag_names(bags: Sequence[Path]) -> list[str]:
    """Names of files or folders; of those that are equal, the second ends in #2."""
    names: list[str] = []
    for bag in bags:
        name = wanted = bag.resolve().name
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}#{number}"
        names.append(name)
    return names


def read_samples(
    bag: Path,
    image_topic: str = "",
    kinds: Sequence[str] = (),
    questions: Sequence[TimedQuestion] = (),
    on_image: OnImage | None = None,
) -> Iterator[Sample | Unreadable]:
    """The samples of a bag in their order, with what cannot be read in between; `on_image` gets all its images.

    Raises InvalidInput where nothing can be read, a topic is missing, of a wrong type, or not clear.
    """
    if not bag.exists():
        raise InvalidInput(f"there is no bag at {bag}")
    choice = (image_topic, bool(questions))
    if mcap_files(bag):
        types, damaged = _mcap_types(bag)
        try:
            topics = find_topics(bag, types, lambda topic: _first(_mcap_messages(bag, [topic])), *choice)
        except InvalidInput as error:
            told = f"; the bag is damaged, `reasonseg bag info {bag}` tells where" if damaged else ""
            raise InvalidInput(f"{error}{told}") from error
        stream = SampleStream(_mcap_messages(bag, topics.types), topics, kinds, questions, on_image)
        yield from _counted(bag, topics, stream)
        return
    with BagReader(bag) as reader:
        topics = find_topics(bag, reader.topics, lambda topic: _first(_messages(reader, [topic])), *choice)
        yield from SampleStream(_messages(reader, list(topics.types)), topics, kinds, questions, on_image)


def _first(messages: Iterator[Message]) -> Any:
    return next((message for _, _, message in messages), None)


def _messages(reader: BagReader, topics: Sequence[str]) -> Iterator[Message]:
    for topic, stamp_ns, data in reader.raw(topics):
        try:
            yield topic, stamp_ns, reader.decode(data, reader.topics[topic])
        except InvalidInput as error:
            yield topic, stamp_ns, error


def _mcap_types(bag: Path) -> tuple[dict[str, str], bool]:
    """Message types by topic: from the index, or, True, from the messages themselves where the index is damaged."""
    try:
        with BagReader(bag) as reader:
            return reader.topics, False
    except InvalidInput as error:
        types = {entry.topic: entry.message_type for entry in read_records(bag) if isinstance(entry, Record)}
        if not types:
            raise InvalidInput(f"not one message of {bag} can be read: {error}") from error
        return types, True


def _mcap_messages(bag: Path, topics: Sequence[str] | dict[str, str]) -> Iterator[Message]:
    for entry in read_records(bag):
        if isinstance(entry, Damage):
            yield "", 0, InvalidInput(str(entry))
        elif entry.topic in topics:
            yield entry.topic, entry.stamp_ns, _decoded(entry)


@lru_cache(maxsize=256)
def _types(message_type: str, definition: str) -> Typestore:
    """What the bag itself says of a type: the messages of another version of this package have other fields."""
    if not definition.strip():
        return typestore()
    try:
        store = get_typestore(Stores.EMPTY)
        store.register(get_types_from_msg(definition, message_type))
        store.generate_msgdef(message_type)  # whether all types in it are defined
        return store
    except (TypesysError, KeyError):
        return typestore()


def _decoded(record: Record) -> Any:
    try:
        store = _types(record.message_type, record.definition)
        return store.deserialize_cdr(record.data, record.message_type)
    # What a damaged message makes of the decoder is anyone's guess.
    except Exception as error:
        return InvalidInput(f"{len(record.data)} bytes are not a {record.message_type}: {error}")


def _counted(bag: Path, topics: Topics, stream: SampleStream) -> Iterator[Sample | Unreadable]:
    """The stream, and at its end how many questions the damaged parts have cost, where metadata.yaml tells."""
    yield from stream
    asking = GROUND_TRUTH if topics.has(GROUND_TRUTH) else QUERY
    expected = _expected(bag, [topic for topic, kind in topics.types.items() if kind == asking])
    if stream.damaged_parts and expected > stream.asked:
        lost = expected - stream.asked
        yield Unreadable("", f"{lost} of {expected} questions that metadata.yaml counts are in the damaged parts", lost)


def _expected(bag: Path, topics: Sequence[str]) -> int:
    try:
        text = (bag / "metadata.yaml").read_text(encoding="utf-8")
        entries = yaml.safe_load(text)["rosbag2_bagfile_information"]["topics_with_message_count"]
        return sum(int(e["message_count"]) for e in entries if e["topic_metadata"]["name"] in topics)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return 0  # a lone file, or metadata as damaged as the bag

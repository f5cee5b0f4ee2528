"""The messages of a bag that an evaluation needs, also of a damaged one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reasonseg_ros.bags import BagReader
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.questions import TimedQuestion
from reasonseg_ros.evaluation.samples import Sample, SampleStream, Unreadable
from reasonseg_ros.evaluation.topics import find_topics


def read_samples(
    bag: Path, image_topic: str = "", kinds: Sequence[str] = (), questions: Sequence[TimedQuestion] = ()
) -> Iterator[Sample | Unreadable]:
    """The samples of a bag, in the order of time.

    Raises InvalidInput where nothing can be read, a topic is missing, of a wrong type, or not clear.
    """
    with BagReader(bag) as reader:
        topics = find_topics(bag, reader.topics, lambda topic: _first(reader, topic), image_topic, bool(questions))
        yield from SampleStream(_messages(reader, list(topics.types)), topics, kinds, questions)


def _first(reader: BagReader, topic: str) -> Any:
    return next((message for _, _, message in _messages(reader, [topic])), None)


def _messages(reader: BagReader, topics: Sequence[str]) -> Iterator[tuple[str, int, Any]]:
    for topic, stamp_ns, data in reader.raw(topics):
        try:
            yield topic, stamp_ns, reader.decode(data, reader.topics[topic])
        except InvalidInput as error:
            yield topic, stamp_ns, error

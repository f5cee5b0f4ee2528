"""Reads the clips of bags. Messages that cannot be read are reported in their place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasonseg_ros.bags import BagReader, Damage, decoded, of_this_version
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.clip_stream import MAX_AGE_S, ClipStream
from reasonseg_ros.evaluation.reading.clips import Clip, unreadable
from reasonseg_ros.evaluation.reading.questions import TimedQuestion
from reasonseg_ros.evaluation.reading.topics import GROUND_TRUTH, QUERY, Topics, find_topics

Message = tuple[str, int, Any]
"""Topic, log time in nanoseconds, and the message, or the error that replaces it."""
OWN = (GROUND_TRUTH, QUERY)
"""Message types of this package. Their fields may differ between versions."""
OnNote = Callable[[str], None]
"""Called with each assumption behind the results, for example which clock was used. By default it is logged."""
_LOG = logging.getLogger(__name__)


def read_bags(
    bags: Sequence[Path],
    image_topic: str = "",
    kinds: Sequence[str] = (),
    questions: Sequence[TimedQuestion] = (),
    with_images: bool = False,
    on_note: OnNote = _LOG.warning,
    max_age_s: float = MAX_AGE_S,
) -> Generator[Clip, None, None]:
    """The clips of one bag after the other. If there are several bags, ids begin with the bag's name."""
    if len(bags) == 1:
        yield from read_clips(bags[0], image_topic, kinds, questions, with_images, on_note, max_age_s)
        return
    for name, bag in zip(bag_names(bags), bags, strict=True):
        for clip in read_clips(bag, image_topic, kinds, questions, with_images, on_note, max_age_s):
            yield _of_bag(clip, name)


def _of_bag(clip: Clip, name: str) -> Clip:
    """The clip with the bag's name before its ids and reasons."""

    def named(an_id: str) -> str:
        return f"{name}/{an_id}" if an_id else ""

    return replace(
        clip,
        bag=name,
        expression=named(clip.expression),
        frames=tuple(replace(frame, sample_id=named(frame.sample_id)) for frame in clip.frames),
        unreadable=tuple(
            replace(lost, sample_id=named(lost.sample_id), reason=f"{name}: {lost.reason}") for lost in clip.unreadable
        ),
    )


def bag_names(bags: Sequence[Path]) -> list[str]:
    """Names of files or folders. Repeated names get a number: the second ends in #2."""
    names: list[str] = []
    for bag in bags:
        name = wanted = bag.resolve().name
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}#{number}"
        names.append(name)
    return names


def read_clips(
    bag: Path,
    image_topic: str = "",
    kinds: Sequence[str] = (),
    questions: Sequence[TimedQuestion] = (),
    with_images: bool = False,
    on_note: OnNote = _LOG.warning,
    max_age_s: float = MAX_AGE_S,
) -> Generator[Clip, None, None]:
    """The questions of a bag in order, each about one image, and a clip for each part that cannot be read.

    `with_images` also yields every image, as a clip without a question, before the clips about it. `with_videos` needs
    them. Raises InvalidInput if nothing can be read, or a topic is missing, of a wrong type, or ambiguous.
    """
    with BagReader(bag) as reader:
        types = {topic: kind for topic, kind in reader.topics.items() if reader.counts[topic]}
        try:
            topics = find_topics(bag, types, lambda topic: first_message(reader, topic), image_topic, bool(questions))
        except InvalidInput as error:
            raise InvalidInput(f"{error}{_why_not_more(reader, image_topic)}") from error
        stream = ClipStream(_messages(reader, list(topics.types)), topics, kinds, questions, with_images, max_age_s)
        yield from stream
        yield from _missing(reader, topics, stream)
        for note in reader.notes:
            on_note(f"{bag}: {note}")
        for note in stream.notes():
            on_note(f"{bag}: {note}")


def first_message(reader: BagReader, topic: str) -> Any:
    """The first message of a topic, or the error that replaces it; None if there is none."""
    return next((message for _, _, message in _messages(reader, [topic])), None)


def _messages(reader: BagReader, topics: Sequence[str]) -> Iterator[Message]:
    for item in reader.records(topics):
        if isinstance(item, Damage):
            yield "", item.stamp_ns, InvalidInput(str(item))
            continue
        try:
            message, kind = decoded(item), item.topic.message_type
            yield item.topic.name, item.stamp_ns, of_this_version(message, kind) if kind in OWN else message
        except InvalidInput as error:
            yield item.topic.name, item.stamp_ns, error


def _why_not_more(reader: BagReader, image_topic: str) -> str:
    """Possible reasons why a bag lacks the expected topics, for an error message."""
    reasons = [f"{topic}: {reason}" for topic, (reason, _) in reader.skipped.items()]
    empty = sorted(topic for topic in reader.topics if not reader.counts[topic])
    reasons += [f"{topic} has no messages" for topic in empty if topic == image_topic or not image_topic]
    reasons += reader.absent().values()
    if any(isinstance(item, Damage) for item in reader.records()):
        reasons.append(f"the bag is damaged, `reasonseg bag info {reader.path}` tells where")
    return "".join(f"; {reason}" for reason in reasons)


def _missing(reader: BagReader, topics: Topics, stream: ClipStream) -> Iterator[Clip]:
    """Messages that the bag's metadata counts but that were not read. Missing questions are lost samples."""
    asking = GROUND_TRUTH if topics.has(GROUND_TRUTH) else QUERY
    for topic, reason in reader.shortfalls(list(topics.types)).items():
        is_question = topics.types[topic] == asking
        yield unreadable("", reason, reader.counts[topic] - reader.read[topic] if is_question else 0)
    for reason in reader.absent().values():  # one of these may have held the camera or the questions
        yield unreadable("", reason, 0)

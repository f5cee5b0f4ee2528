"""Merges black boxes and bags with ground truth into one bag: a regression set for evaluations and replays.

Only images with questions are kept, for videos also those in between, with depth and calibration of the same stamp.
Pixels do not change: compressed images keep their bytes, others become PNG. As in a run over several bags, ids of
questions begin with the name of their bag. Stamps keep their distances. A bag whose time overlaps that of earlier bags
is moved behind them.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from reasonseg_ros import bags
from reasonseg_ros.bags.topics import (
    BLACK_BOX_TOPIC,
    CAMERA_INFO_TOPIC,
    COMPRESSED_IMAGE_TOPIC,
    DEPTH_TOPIC,
    GROUND_TRUTH_TOPIC,
    QUERY_TOPIC,
    UNSCORED_QUERY_TOPIC,
)
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import bag_names, first_message
from reasonseg_ros.evaluation.reading.clip_stream import MAX_AGE_S
from reasonseg_ros.evaluation.reading.topics import GROUND_TRUTH, QUERY, find_topics
from reasonseg_ros.evaluation.scoring.mask_files import ReadPrediction
from reasonseg_ros.images.messages import declared_size_wh, is_compressed, rgb_from_image
from reasonseg_ros.recording.content import stamps_in
from reasonseg_ros.types import Query

GAP_NS = 10**9
"""Gap between the last image of a bag and the first image of a bag that is moved behind it."""
_TEXT = "std_msgs/msg/String"
_SPACE_TOPICS = (DEPTH_TOPIC, f"{DEPTH_TOPIC}/compressedDepth", CAMERA_INFO_TOPIC)


@dataclass
class Merged:
    """Counts of a merged bag, and the problems with bags that were left out.

    Attributes:
        scored, unscored: number of questions with ground truth, counted per image, and without.
    """

    images: int = 0
    scored: int = 0
    unscored: int = 0
    black_boxes: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        counts = f"images: {self.images}; questions with ground truth: {self.scored}"
        if self.unscored:
            counts += f"; without ground truth, answered but not scored: {self.unscored}"
        return [f"{counts}; black boxes: {self.black_boxes}", *(f"note: {note}" for note in self.notes)]


@dataclass
class _Content:
    """The part of a bag that is kept, by the stamps of its images.

    Attributes:
        images_ns: checksum of each image.
        unclear_ns: stamps of several different images.
        shown_ns: stamps of images in black boxes.
    """

    image_topic: str
    truths: dict[int, list[Any]] = field(default_factory=lambda: defaultdict(list))
    unscored: dict[int, list[Any]] = field(default_factory=lambda: defaultdict(list))
    queries: dict[str, Any] = field(default_factory=dict)
    texts: list[bytes] = field(default_factory=list)
    images_ns: dict[int, int] = field(default_factory=dict)
    unclear_ns: set[int] = field(default_factory=set)
    shown_ns: set[int] = field(default_factory=set)

    def wanted_ns(self) -> set[int]:
        """Stamps of the images with questions, and of the images between two with the same question."""
        asked: dict[tuple[str, str], list[int]] = defaultdict(list)
        for stamp_ns, messages in self.truths.items():
            for message in messages:
                asked[message.query_id, message.question].append(stamp_ns)
        between = [(min(stamps), max(stamps)) for (query_id, _), stamps in asked.items() if query_id]
        wanted = set(self.truths) | set(self.unscored) | self.shown_ns
        return {ns for ns in self.images_ns if ns in wanted or any(first < ns < last for first, last in between)}


def merge_bags(
    paths: Sequence[Path],
    out: Path,
    force: bool = False,
    image_topic: str = "",
    truths: Mapping[str, ReadPrediction] | None = None,
    on_done: Callable[[int], None] = lambda _: None,
) -> Merged:
    """Write the bag.

    `truths` are masks for bags with a single question without ground truth, by the bag's name without ending. A bag
    without questions, or with damage, is left out and listed in `problems`. `on_done` is called with the number of
    finished bags.

    Raises InvalidInput if `out` exists and `force` is not set, a truth belongs to no bag, or nothing is left.
    """
    merged, names = Merged(), bag_names(paths)
    unused = set(truths or {}) - {Path(name).stem for name in names}
    if unused:
        raise InvalidInput(f"masks for {', '.join(sorted(unused))[:300]}: no bag has this name")
    end_ns: int | None = None
    with bags.BagWriter(out, force) as bag:
        for number, (name, path) in enumerate(zip(names, paths, strict=True), 1):
            with ExitStack() as stack:
                try:
                    reader = stack.enter_context(bags.BagReader(path))
                    content = _content(path, reader, image_topic)
                    target = (truths or {}).get(Path(name).stem)
                    if target is not None:
                        _add_truth(content, target, reader)
                except InvalidInput as error:
                    merged.problems.append(str(error))
                else:
                    prefix = f"{name}/" if len(paths) > 1 else ""
                    end_ns = _write(bag, reader, content, name, prefix, end_ns, merged)
            on_done(number)
        if not merged.images:
            raise InvalidInput("; ".join(merged.problems) or "no bags to merge")
    return merged


def _content(path: Path, reader: bags.BagReader, image_topic: str) -> _Content:
    """Read everything except the pixels.

    Raises InvalidInput if a part is damaged, or if an image with a question is missing or shares its stamp with another
    one.
    """
    types = {topic: kind for topic, kind in reader.topics.items() if reader.counts[topic]}
    texts = [BLACK_BOX_TOPIC] if types.get(BLACK_BOX_TOPIC) == _TEXT else []
    only_shown = bool(texts) and not {GROUND_TRUTH, QUERY} & set(types.values())  # prompts without a question
    topics = find_topics(path, types, lambda topic: first_message(reader, topic), image_topic, only_shown)
    content = _Content(topics.image)
    newest_ns: int | None = None
    newest_log_ns = 0
    queries: list[tuple[int, Any, bool, int]] = []
    for topic, log_ns, data in reader.raw([*topics.types, *texts]):
        if topic == topics.image:
            newest_ns, newest_log_ns = bags.raw_stamp_ns(data), log_ns
            checksum = zlib.crc32(data)
            if content.images_ns.setdefault(newest_ns, checksum) != checksum:
                content.unclear_ns.add(newest_ns)
        elif topic == BLACK_BOX_TOPIC:
            content.texts.append(data)
            content.shown_ns |= set(stamps_in(_decoded(reader, topic, data).data))
        else:
            message = _decoded(reader, topic, data)
            if topics.types[topic] == GROUND_TRUTH:
                content.truths[bags.header_stamp_ns(message.header)].append(message)
            elif topics.types[topic] == QUERY and newest_ns is None:
                raise InvalidInput(f"{path}: the question {message.text[:80]!r} comes before the first image")
            elif topics.types[topic] == QUERY:
                queries.append((newest_ns or 0, message, topic == UNSCORED_QUERY_TOPIC, log_ns - newest_log_ns))
    for stamp_ns, message, is_unscored, after_ns in queries:
        if is_unscored or not content.truths:
            if after_ns > MAX_AGE_S * 1e9:
                late = f"{after_ns / 1e9:.1f} s after the last image, which the node would not use"
                raise InvalidInput(f"{path}: the question {message.text[:80]!r} comes {late}")
            content.unscored[stamp_ns].append(message)
        else:
            content.queries.setdefault(message.query_id, message)
    asked_ns = set(content.truths) | set(content.unscored) | content.shown_ns
    if not asked_ns:
        raise InvalidInput(f"{path} holds no question about an image")
    if 0 in asked_ns:
        raise InvalidInput(f"{path}: images without a header stamp; record them with one")
    if unclear := asked_ns & content.unclear_ns:
        raise InvalidInput(f"{path}: a question is about stamp {min(unclear)} ns, which several images have")
    if missing := asked_ns - content.images_ns.keys():
        raise InvalidInput(f"{path}: {len(missing)} images with questions are missing, the first of {min(missing)} ns")
    return content


def _decoded(reader: bags.BagReader, topic: str, data: bytes) -> Any:
    try:
        return bags.typestore().deserialize_cdr(data, reader.topics[topic])
    except Exception as error:  # damaged bytes make the decoder raise nearly anything
        raise InvalidInput(f"{reader.path}: a message on {topic} cannot be read: {error}") from error


def _add_truth(content: _Content, read: ReadPrediction, reader: bags.BagReader) -> None:
    """Add a mask as the ground truth of the only question without one. Raises InvalidInput for none or several."""
    asked = [(stamp_ns, message) for stamp_ns, messages in content.unscored.items() for message in messages]
    if len(asked) != 1:
        raise InvalidInput(f"{reader.path} has {len(asked)} questions without ground truth; a mask is for one")
    (stamp_ns, query), mask = asked[0], read()
    if mask is None:
        raise InvalidInput(f"{reader.path}: its mask is null; leave the file out, or mark no pixel if nothing fits")
    for topic, _, data in reader.raw([content.image_topic]):
        if bags.raw_stamp_ns(data) == stamp_ns:
            image = _decoded(reader, topic, data)
            break
    size_wh, mask_wh = declared_size_wh(image), mask.shape[::-1]
    if size_wh != mask_wh:
        raise InvalidInput(f"{reader.path}: a mask of {mask_wh} pixels for an image of {size_wh}")
    asked_about = Query(query.text, query.query_id)
    truth = bags.ground_truth_message(asked_about, mask, stamp_ns, image.header.frame_id)
    content.truths[stamp_ns].append(truth)
    del content.unscored[stamp_ns]


def _write(
    bag: bags.BagWriter,
    reader: bags.BagReader,
    content: _Content,
    name: str,
    prefix: str,
    end_ns: int | None,
    merged: Merged,
) -> int | None:
    """Write the kept part of one bag after `end_ns`. Returns the time of the last image in nanoseconds."""
    wanted = content.wanted_ns()
    shift_ns = 0
    if end_ns is not None and min(wanted) <= end_ns:
        shift_ns = end_ns + GAP_NS - min(wanted)
        merged.notes.append(f"{name} is moved by {shift_ns / 1e9:.3f} s, as it overlaps the bags before it")
    asked: set[str] = set()
    space_topics = [topic for topic in _SPACE_TOPICS if topic in reader.topics]
    in_space = {(topic, stamp_ns) for topic in space_topics for stamp_ns in wanted}
    for topic, _, data in reader.raw([content.image_topic, *space_topics]):
        stamp_ns = bags.raw_stamp_ns(data)
        if (topic, stamp_ns) in in_space:
            in_space.remove((topic, stamp_ns))
            moved = bags.restamped(data, stamp_ns + shift_ns)
            bag.write_raw(topic, reader.topics[topic], moved, stamp_ns + shift_ns)
        if topic != content.image_topic or stamp_ns not in wanted:
            continue
        wanted.remove(stamp_ns)  # a repeated stamp is written once
        at_ns = stamp_ns + shift_ns
        _write_image(bag, reader, topic, bags.restamped(data, at_ns), at_ns)
        merged.images += 1
        for message in content.unscored.get(stamp_ns, ()):
            bag.write(UNSCORED_QUERY_TOPIC, replace(message, query_id=prefix + message.query_id), at_ns + 1)
            merged.unscored += 1
        for message in content.truths.get(stamp_ns, ()):
            query_id = prefix + message.query_id
            query = content.queries.get(message.query_id)
            if query is not None and query_id not in asked:
                asked.add(query_id)
                bag.write(QUERY_TOPIC, replace(query, query_id=query_id), at_ns + 1)
            header = bags.header(at_ns, message.header.frame_id)
            bag.write(GROUND_TRUTH_TOPIC, replace(message, query_id=query_id, header=header), at_ns + 1)
            merged.scored += 1
        end_ns = max(at_ns, end_ns or at_ns)
    for data in content.texts:
        bag.write_raw(BLACK_BOX_TOPIC, _TEXT, data, (end_ns or 0) + 1)
        merged.black_boxes += 1
    return end_ns


def _write_image(bag: bags.BagWriter, reader: bags.BagReader, topic: str, data: bytes, stamp_ns: int) -> None:
    message = _decoded(reader, topic, data)
    if is_compressed(message):
        bag.write_raw(COMPRESSED_IMAGE_TOPIC, reader.topics[topic], data, stamp_ns)
        return
    pixels = cv2.cvtColor(rgb_from_image(message), cv2.COLOR_RGB2BGR)
    png = cv2.imencode(".png", pixels)[1].tobytes()
    image = bags.compressed_image_message(png, "png", stamp_ns, message.header.frame_id)
    bag.write(COMPRESSED_IMAGE_TOPIC, image, stamp_ns)

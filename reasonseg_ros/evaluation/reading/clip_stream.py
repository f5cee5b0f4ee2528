"""The questions of a bag with their images and ground truth, streamed in the order of the bag.

Topics are recognised by their message types. Only a few images are in memory at a time, so a bag may be of any size.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from reasonseg_ros.bags.topics import UNSCORED_QUERY_TOPIC
from reasonseg_ros.config import QueryConfig
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.reading.clips import Clip, Sample, unreadable
from reasonseg_ros.evaluation.reading.questions import TimedQuestion
from reasonseg_ros.evaluation.reading.topics import GROUND_TRUTH, QUERY, Topics
from reasonseg_ros.evaluation.reading.truths import truth_from_message
from reasonseg_ros.images.messages import frame_from_message, is_dark_16bit
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.space.calibration import same_frame
from reasonseg_ros.stamps import header_stamp_ns
from reasonseg_ros.types import Frame

KEPT_IMAGES = 8
"""Recent images to which ground truth may still refer, as a recorder may write the two out of order."""

MAX_AGE_S: float = QueryConfig().image_max_age_s
"""A question without ground truth is about an image of at most this age, as in the node."""

LATE_NS = 10**9
"""A timed question may be at most this long before the first image or after the last."""


class _Image:
    """An image message that is decoded once for all questions about it."""

    def __init__(self, message: Any, log_ns: int, on_dark: Callable[[], None] = lambda: None) -> None:
        """`on_dark` is called when a 16-bit image turns out to be nearly black after decoding."""
        self.message = message
        self.log_ns = log_ns
        self._on_dark = on_dark

    @cached_property
    def frame(self) -> Frame:
        frame = frame_from_message(self.message)
        if is_dark_16bit(self.message, frame.rgb):
            self._on_dark()
        return frame

    def load(self) -> Frame:
        return self.frame

    @cached_property
    def digest(self) -> str:
        """Of its data. It tells apart images of one stamp, as in a recording of a bag that looped."""
        return hashlib.blake2b(self.message.data, digest_size=6).hexdigest()


class ClipStream:
    """Clips of one image each, from a bag's messages. Iterate once. What cannot be read is reported in its place.

    All counts are up to the current message.

    Attributes:
        asked: questions of any kind.
        unstamped: images without a header stamp (0), whose log time is used instead.
        repeated: images with the stamp of a recent image, but other pixels.
        of_other_frames: ground truth whose frame_id is not the image's, in a bag with one image topic.
        dark: decoded 16-bit images that are nearly black.
        damaged_parts: parts of the file that could not be read.
    """

    def __init__(
        self,
        messages: Iterable[tuple[str, int, Any]],
        topics: Topics,
        kinds: Sequence[str] = (),
        questions: Sequence[TimedQuestion] = (),
        with_images: bool = False,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        """
        Args:
            messages: topic, log time in nanoseconds and message, in order. An error may stand for a message. If its
                topic is empty, it is a damaged part of the file.
            kinds: take only questions of these kinds; empty for all.
            questions: ask these, which are sorted by time, instead of the bag's.
            with_images: also yield every image, as a clip without a question, before the clips about it.
            max_age_s: maximum time between a question without ground truth and its image, seconds; 0: no limit.
        """
        self.messages = messages
        self.topics = topics
        self.kinds = kinds
        self.with_images = with_images
        self.max_age_ns = round(max_age_s * 1e9)
        self.asked = 0
        self.unstamped = 0
        self.repeated = 0
        self.of_other_frames = 0
        self.dark = 0
        self.damaged_parts = 0
        self._left = list(questions)
        self._first_ns: int | None = None
        self._recent: OrderedDict[int, _Image] = OrderedDict()
        self._waiting: dict[int, list[Any]] = {}  # ground truth by the stamp of its image, which has not come yet
        self._early: list[tuple[Any, int]] = []  # queries before the first image, with their log times
        self._queries: dict[str, str] = {}  # text by id, as long as their ground truth has not come
        self._known: set[str] = set()  # ids of queries whose ground truth has come
        self._ids: set[str] = set()
        self._expressions: dict[str, tuple[str, int]] = {}  # question and newest frame by the id in the bag

    def __iter__(self) -> Iterator[Clip]:
        for topic, stamp_ns, message in self.messages:
            if isinstance(message, Exception):
                yield self._damaged(topic, stamp_ns, message)
            elif topic == self.topics.image:
                yield from self._on_image(message, stamp_ns)
            elif self.topics.types.get(topic) == GROUND_TRUTH:
                yield from self._on_truth(message)
            elif self.topics.types.get(topic) == QUERY:
                yield from self._on_query(message, stamp_ns, topic == UNSCORED_QUERY_TOPIC)
        yield from self._rest()

    def _damaged(self, topic: str, stamp_ns: int, error: Exception) -> Clip:
        if not topic:
            self.damaged_parts += 1
            return unreadable("", str(error), 0)
        # A lost image is no lost sample: its questions are listed themselves. Nor is a query that has ground truth.
        asks = self.topics.types[topic] == (GROUND_TRUTH if self.topics.has(GROUND_TRUTH) else QUERY)
        asks |= topic == UNSCORED_QUERY_TOPIC
        self.asked += asks
        return unreadable("", f"message on {topic} at {stamp_ns} ns cannot be read: {error}", int(asks))

    def _on_image(self, message: Any, log_ns: int) -> Iterator[Clip]:
        stamp_ns = header_stamp_ns(message.header)
        is_unstamped = not stamp_ns
        if is_unstamped:
            stamp_ns = log_ns
            self.unstamped += 1
        self._first_ns = stamp_ns if self._first_ns is None else self._first_ns
        while self._left and self._recent and self._left[0].stamp_ns(self._first_ns) < stamp_ns:
            yield self._timed(self._left.pop(0))
        known = self._recent.pop(stamp_ns, None)  # popped, so that the new one is the newest
        self.repeated += known is not None and not np.array_equal(known.message.data, message.data)
        image = self._recent[stamp_ns] = _Image(message, log_ns, self._darkened)
        if len(self._recent) > KEPT_IMAGES:
            self._recent.popitem(last=False)
        if self.with_images:
            yield Clip(frames=(Sample("", stamp_ns, image.load, is_asked=False),))
        waiting = self._waiting.pop(stamp_ns, []) + (self._waiting.pop(0, []) if is_unstamped else [])
        for truth in waiting:
            yield self._with_truth(truth, image, stamp_ns)
        while self._early:
            query, asked_ns = self._early.pop(0)
            yield self._without_truth(query.query_id, query.text, asked_ns - log_ns)

    def _darkened(self) -> None:
        self.dark += 1

    def notes(self) -> list[str]:
        """The assumptions behind the results, one line each. Complete when all images have been decoded."""
        notes = {
            "images without a header stamp; their log time is used": self.unstamped,
            "images repeat the stamp of an earlier one with other pixels; ground truth is about the newest one": (
                self.repeated
            ),
            "ground truths have another frame_id than their image; accepted, as there is only one camera": (
                self.of_other_frames
            ),
            "images of 16 bits are nearly black, as their values stay below 4096; shift them up, or write mono8": (
                self.dark
            ),
        }
        return [f"{count} {text}" for text, count in notes.items() if count]

    def _on_truth(self, message: Any) -> Iterator[Clip]:
        self.asked += 1
        self._queries.pop(message.query_id, None)
        self._known.add(message.query_id)
        if self.kinds and message.kind not in self.kinds:
            return
        stamp_ns = header_stamp_ns(message.header)
        if not stamp_ns and self.unstamped:  # neither images nor truth are stamped: it is about the newest image
            stamp_ns = next(reversed(self._recent))
        if stamp_ns in self._recent:
            yield self._with_truth(message, self._recent[stamp_ns], stamp_ns)
        else:
            self._waiting.setdefault(stamp_ns, []).append(message)

    def _on_query(self, message: Any, log_ns: int, is_unscored: bool) -> Iterator[Clip]:
        if self.topics.has(GROUND_TRUTH) and not is_unscored:
            if message.query_id and message.query_id not in self._known:
                self._queries[message.query_id] = message.text
            return
        self.asked += 1
        if not self._recent:
            self._early.append((message, log_ns))
        else:
            image_log_ns = next(reversed(self._recent.values())).log_ns
            yield self._without_truth(message.query_id, message.text, log_ns - image_log_ns)

    def _rest(self) -> Iterator[Clip]:
        last_ns = next(reversed(self._recent), None)
        for question in self._left:
            if last_ns is None or question.stamp_ns(self._first_ns or 0) > last_ns + LATE_NS:
                reason = f"time_s {question.time_s} is after the last image; give a time within the bag"
                yield unreadable(self._new_id(question.question_id or question.text), reason)
            else:
                yield self._timed(question)
        for stamp_ns, messages in self._waiting.items():
            for message in messages:
                reason = f"there is no image of stamp {stamp_ns} ns on {self.topics.image}"
                yield unreadable(self._new_id(message.query_id or str(stamp_ns)), reason)
        for query, _ in self._early:
            yield unreadable(self._new_id(query.query_id or query.text), f"no image on {self.topics.image}")
        for query_id, text in self._queries.items():
            reason = f"the question {text[:80]!r} has no ground truth in the bag"
            # In a damaged bag its ground truth may be in a damaged part, which is counted already.
            yield unreadable(self._new_id(query_id), reason, int(not self.damaged_parts))

    def _with_truth(self, message: Any, image: _Image, stamp_ns: int) -> Clip:
        sample_id = self._new_id(message.query_id or str(stamp_ns))
        frame_ids = message.header.frame_id, image.message.header.frame_id
        if all(frame_ids) and not same_frame(*frame_ids):
            if self.topics.has_other_images:
                stated = f"{frame_ids[0]!r}, and {self.topics.image} is of frame {frame_ids[1]!r}"
                return unreadable(sample_id, f"its ground truth is of frame {stated}; choose another --image-topic")
            self.of_other_frames += 1
        try:
            truth = truth_from_message(message, image.message)
        except InvalidInput as error:
            return unreadable(sample_id, str(error))
        sample = Sample(
            sample_id, stamp_ns, image.load, truth, message.kind, message.split, message.is_sentence,
            image_digest=image.digest,
        )  # fmt: skip
        return Clip(message.question, (sample,), self._expression(message, stamp_ns, sample_id))

    def _expression(self, message: Any, stamp_ns: int, sample_id: str) -> str:
        """The id in the bag if it stands for one question about several frames, else the sample's id."""
        known = self._expressions.get(message.query_id)
        if not message.query_id or (known and (known[0] != message.question or known[1] == stamp_ns)):
            return sample_id
        self._expressions[message.query_id] = message.question, stamp_ns
        return str(message.query_id)

    def _timed(self, question: TimedQuestion) -> Clip:
        if question.stamp_ns(self._first_ns or 0) < (self._first_ns or 0) - LATE_NS:
            reason = f"time_s {question.time_s} is before the first image; give a time within the bag"
            return unreadable(self._new_id(question.question_id or question.text), reason)
        asked_ns = question.stamp_ns(self._first_ns or 0)
        return self._without_truth(question.question_id, question.text, asked_ns - next(reversed(self._recent)))

    def _without_truth(self, query_id: str, text: str, after_ns: int) -> Clip:
        """A question about the newest image, which it follows by `after_ns`, if the node would have used that image."""
        stamp_ns, image = next(reversed(self._recent.items()))
        sample_id = self._new_id(query_id or str(stamp_ns))
        if 0 < self.max_age_ns < abs(after_ns):
            order = "before" if after_ns > 0 else "after"
            reason = f"the nearest image {order} the question is {abs(after_ns) / 1e9:.1f} s away"
            return unreadable(sample_id, f"{reason}; query.image_max_age_s is {self.max_age_ns / 1e9:g} (0: no limit)")
        return Clip(text, (Sample(sample_id, stamp_ns, image.load, image_digest=image.digest),))

    def _new_id(self, wanted: str) -> str:
        sample_id = wanted = one_line(wanted)
        number = 1
        while sample_id in self._ids:
            number += 1
            sample_id = f"{wanted}#{number}"
        self._ids.add(sample_id)
        return sample_id

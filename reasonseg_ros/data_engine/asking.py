"""Requests questions about one picture, checks them, and requests those again that break a rule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reasonseg_ros.data_engine.model import Model
from reasonseg_ros.data_engine.pictures import ListedObject, LoadedPicture
from reasonseg_ros.data_engine.prompts import VERSION, Refused, caption_words, question_words
from reasonseg_ros.data_engine.reading import Caption, read_caption, read_drafts
from reasonseg_ros.data_engine.rules import Draft, Rules, faults
from reasonseg_ros.data_engine.store import ReplyStore, StoredReply, request_key
from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.reasoner.call import Call, never
from reasonseg_ros.types import BoolMask, RgbImage, Status

SIMPLE, COMPLEX = "simple", "complex"
LONGEST_SHOWN = 200
"""Maximum characters of a refused text in the records."""
MOST_SIMPLE = 5
"""Maximum categories of a simple picture, as in LLM-Seg40K. A picture with more is complex."""


class NoReply(ReasonSegError):
    """The model gave no reply; another run asks about the picture again."""


class Stopped(ReasonSegError):
    """The run is stopping."""


@dataclass(frozen=True)
class Wishes:
    """How many questions to make about each picture.

    Attributes:
        questions: number of questions per picture, 1 to 20.
        tries: maximum requests for the caption, and maximum requests for the questions, 1 to 10.
        least_categories: minimum categories of a picture, 1 to 20. Pictures with fewer are left out.

    Raises InvalidInput for a value out of range.
    """

    questions: int = 5
    tries: int = 3
    least_categories: int = 2
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        for name, value, most in (("questions", self.questions, 20), ("tries", self.tries, 10)):
            if not 1 <= value <= most:
                raise InvalidInput(f"{value} {name}; expected 1 to {most}")
        if not 1 <= self.least_categories <= 20:
            raise InvalidInput(f"{self.least_categories} categories at least; expected 1 to 20")


@dataclass(frozen=True, eq=False)
class Questioned:
    """The result for one picture.

    Attributes:
        objects: the listed objects, with names from the model where the source has none.
        kind: `simple` or `complex`.
        accepted: the questions that break no rule.
        refused: every refused text, with the reasons.
        left_out: why the picture was left out; empty if questions were requested.
    """

    objects: tuple[ListedObject, ...] = ()
    kind: str = ""
    accepted: tuple[Draft, ...] = ()
    refused: tuple[Refused, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class PictureAsker:
    """Requests questions about pictures. Any thread may call it. Stored replies are reused."""

    model: Model
    store: ReplyStore
    wishes: Wishes
    is_stopped: Callable[[], bool] = never

    def questions(self, name: str, picture: LoadedPicture) -> Questioned:
        """Request the caption, missing names and questions of a picture.

        Raises NoReply if the model does not reply, Stopped if the run ends.
        """
        objects = picture.objects
        fewest = self.wishes.least_categories
        if len(objects) < fewest or (all(one.name for one in objects) and _categories(objects) < fewest):
            return Questioned(objects, left_out=_too_few(objects, fewest))
        about = _Picture(self, name, picture)
        caption = about.caption()
        if caption is None:
            return Questioned(objects, refused=tuple(about.refused), left_out="no usable caption; see what was refused")
        objects = tuple(replace(one, name=one.name or caption.names[number]) for number, one in enumerate(objects, 1))
        if _categories(objects) < fewest:
            return Questioned(objects, refused=tuple(about.refused), left_out=_too_few(objects, fewest))
        accepted = about.questions(objects, caption)
        kind = SIMPLE if _categories(objects) <= MOST_SIMPLE else COMPLEX
        return Questioned(objects, kind, tuple(accepted), tuple(about.refused))


class _Picture:
    """The requests about one picture. Refused texts are appended to `refused`."""

    def __init__(self, asker: PictureAsker, name: str, picture: LoadedPicture) -> None:
        self.asker, self.name, self.picture = asker, name, picture
        self.refused: list[Refused] = []
        self._images = [picture.rgb, picture.marked()]
        # The outlines are part of the request, so other masks of the same image give another key.
        self._seen = f"{VERSION} {picture.digest} {masks_digest(one.mask for one in picture.objects)}"

    def caption(self) -> Caption | None:
        """The caption and the missing names; None if no reply is usable."""
        objects = self.picture.objects
        unnamed = [number for number, one in enumerate(objects, 1) if not one.name]
        words, images = caption_words(objects), self._images if unnamed else self._images[:1]
        received = 0
        for tries_left in reversed(range(self.asker.wishes.tries)):
            text = self._said(words, images, received, tries_left)
            if text is None:
                continue
            received += 1
            try:
                return read_caption(text, unnamed)
            except InvalidInput as error:
                self.refused.append(Refused(one_line(text, LONGEST_SHOWN), (str(error),)))
        return None

    def questions(self, objects: Sequence[ListedObject], caption: Caption) -> list[Draft]:
        """Questions that break no rule. The next request lists the refused ones with the reasons."""
        wishes = self.asker.wishes
        accepted: list[Draft] = []
        again: list[Refused] = []
        received = 0
        for tries_left in reversed(range(wishes.tries)):
            lacking = wishes.questions - len(accepted)
            if not lacking:
                break
            words = question_words(caption.text, objects, lacking, wishes.rules, accepted, again)
            text = self._said(words, self._images, received, tries_left)
            if text is None:
                continue
            received += 1
            again = self._sift(text, objects, accepted)
            self.refused += again
        return accepted

    def _sift(self, text: str, objects: Sequence[ListedObject], accepted: list[Draft]) -> list[Refused]:
        """Append the questions of a reply that break no rule to `accepted`; return the others."""
        wishes = self.asker.wishes
        try:
            drafts, refused = read_drafts(text)
        except InvalidInput as error:
            return [Refused(one_line(text, LONGEST_SHOWN), (str(error),))]
        for draft in drafts:
            found = faults(draft, objects, accepted, wishes.rules)
            if not found and len(accepted) == wishes.questions:
                found = [f"there are {len(accepted)} questions already"]
            if found:
                refused.append(Refused(one_line(draft.question, LONGEST_SHOWN), tuple(found)))
            else:
                accepted.append(draft)
        return refused

    def _said(self, words: str, images: Sequence[RgbImage], received: int, tries_left: int) -> str | None:
        """The text of the stored reply, else of a new one; None after a timeout, which counts as a try.

        `received` is the number of earlier replies. It distinguishes repeated requests with the same words. Timeouts do
        not count, so that a continued run finds the stored replies of the interrupted one.
        """
        asker = self.asker
        if asker.is_stopped():
            raise Stopped("stopped")
        key = request_key(asker.model.name, asker.model.sampling, received, words, f"{self._seen} {len(images)}")
        stored = asker.store.get(key)
        if stored is not None:
            return stored.text
        reply = asker.model.reply(images, words, Call(cancelled=asker.is_stopped))
        if reply.status is Status.CANCELLED:
            raise Stopped("stopped")
        if reply.status is Status.TIMEOUT and tries_left:
            self.refused.append(Refused("", (reply.error,)))
            return None
        if reply.status is not Status.OK:
            raise NoReply(reply.error)
        asker.store.put(StoredReply(key, self.name, reply.text, reply.is_cut, reply.prompt_tokens, reply.tokens))
        return reply.text


def masks_digest(masks: Iterable[BoolMask]) -> str:
    """A digest of the masks and their order, 32 hexadecimal digits. Replies refer to objects by this order."""
    found = hashlib.sha256()
    for mask in masks:
        found.update(np.packbits(mask).tobytes())
    return found.hexdigest()[:32]


def _categories(objects: Sequence[ListedObject]) -> int:
    return len({one.name.casefold() for one in objects})


def _too_few(objects: Sequence[ListedObject], fewest: int) -> str:
    return f"{len(objects)} objects of {_categories(objects)} categories; expected {fewest} categories at least"
